// The backward pass in O(n) memory: weights rebuilt from LSE, tile by tile, never kept (Dao 2023, arXiv 2307.08691).
//
// With P = e^(S − lse), dP = dout·Vᵀ and delta = Σ dout·out of a row (= Σ_j P_j dP_j):
//
//   dV += Pᵀ·dout      dS = P ∘ (dP − delta) ∘ functor'      dK += dSᵀ·(scale·Q)      dQ += dS·K, times scale at the
//   end
//
// Five products of [48, 64] tiles against the forward pass's two. One item owns a run of the rows of one KV head's
// group and walks them in pieces; for every block of keys it packs Kᵀ, Vᵀ and K, and every strip of 48 rows meets every
// tile. dK and dV go to the item's own sums, which are added up in a fixed order afterwards: the same bits for any
// number of threads.
#pragma once
#include "kernels/generic/softmax.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kMostTiles = 8;

struct GradientScratch {
  float* queries;   // [rows, padded head_dim], scaled
  float* dout;      // [rows, padded value_dim]
  float* dq;        // [rows, padded head_dim], before the scale
  float* lse;       // [rows]; +∞ for a row that sees nothing, so that its weights are 0
  float* delta;     // [rows]
  float* rows;      // [kLanes, the longer padded dim] before a transpose
  float* keys;      // [key_tiles, padded head_dim, 64]
  float* values;    // [key_tiles, padded value_dim, 64]
  float* key_rows;  // [key_tiles, 64, padded head_dim]
  float* weights;   // [kStrip, 64] scores, then P
  float* dscore;    // [kStrip, 64] dP, then dS
  float* slopes;    // [kStrip, 64] of the functor
  float* logits;    // [kStrip, 64] before the functor, where its own numbers have gradients
  float* shares;    // [kStrip, 64] dS before the slope, likewise
};
inline std::size_t lay_out(const GradientPlan& plan, std::byte* base, GradientScratch* s) {
  std::size_t used = 0;
  const auto take = [&](std::int64_t floats) {
    float* at = base ? reinterpret_cast<float*>(base + used) : nullptr;  // null: only the size is asked for
    used += static_cast<std::size_t>((floats * 4 + 63) / 64 * 64);
    return at;
  };
  const std::int64_t r = plan.piece_rows, d = plan.padded_head_dim, v = plan.padded_value_dim,
                     strip = kStrip * kTileKeys, tile = plan.key_tiles * kTileKeys;
  *s = {take(r * d),    take(r * v),    take(r * d),    take(r),     take(r),     take(kLanes * (d > v ? d : v)),
        take(tile * d), take(tile * v), take(tile * d), take(strip), take(strip), take(strip),
        take(strip),    take(strip)};
  return used;
}

/// One piece of an item: its rows, and all that its steps share.
struct GradientPiece {
  const Problem& p;
  const GradientProblem& g;
  const GradientPlan& plan;
  const GradientScratch& s;
  Piece w;
  float* sums;  // [keys of the batch row, row_floats]: dk, dv of each key
  std::ptrdiff_t row_floats;
  bool strip_finite[1536 / kStrip];
  bool packed[kMostTiles], keys_finite[kMostTiles];  // of the block of keys at hand

  /// The rows that enter: scale·Q, dout, delta, lse; nothing yet in dQ.
  void begin() {
    const int d = plan.padded_head_dim, v = plan.padded_value_dim;
    const float scale = static_cast<float>(p.scale);
    for (int row = 0; row < w.rows; row += kStrip) strip_finite[row / kStrip] = true;
    for (int i = 0; i < w.rows * d; ++i) s.queries[i] = s.dq[i] = 0;
    for (int i = 0; i < w.rows * v; ++i) s.dout[i] = 0;
    for_segments(p, w, 0, w.rows, [&](const Segment& seg) {
      for (int i = 0; i < seg.rows; ++i) {
        const int r = seg.row + i, t = seg.query + i;
        float* q = s.queries + std::ptrdiff_t{r} * d;
        float* o = s.dout + std::ptrdiff_t{r} * v;
        widen_row(p.q, p.q_offset(w.batch, seg.head, t), p.head_dim, q);
        Vec poison = 0.0f;  // 0, or NaN where a row holds what is not finite
        for (int j = 0; j < d; j += kLanes) {
          const Vec x = load(q + j) * scale;
          store(q + j, x), poison = fma(x, 0.0f, poison);
        }
        const std::int64_t at = p.lse_offset(w.batch, seg.head, t);
        s.lse[r] = p.lse[at] == minus_infinity() ? -minus_infinity() : p.lse[at];
        s.delta[r] = g.delta[at] = read_dout(seg.head, t, o);
        for (int j = 0; j < v; j += kLanes) poison = fma(load(o + j), 0.0f, poison);
        if (!(reduce_add(poison) == 0)) strip_finite[r / kStrip] = false;
      }
    });
  }
  /// dq of the piece's rows, rounded once.
  void finish() const {
    for_segments(p, w, 0, w.rows, [&](const Segment& seg) {
      for (int i = 0; i < seg.rows; ++i)
        narrow_row(s.dq + std::ptrdiff_t{seg.row + i} * plan.padded_head_dim, static_cast<float>(p.scale), p.head_dim,
                   g.dq, offset(g.dq, seg.head, seg.query + i));
    });
  }
  void fold(int tile, Range keys, int row, int rows);

 private:
  std::int64_t offset(const Operand& x, int head, int t) const {
    return w.batch * x.batch + (t + (p.q_begin ? p.q_begin[w.batch] : 0)) * x.time + head * x.head;
  }
  /// to [value_dim] = a row of dout; returns Σ dout·out.
  float read_dout(int head, int t, float* to) const {
    widen_row(g.dout, offset(g.dout, head, t), p.value_dim, to);
    Vec sum = 0.0f;
    for (int d = 0; d < p.value_dim; d += kLanes) {
      float out[kLanes] = {};
      widen_row(p.out, p.out_offset(w.batch, head, t) + d * p.out.dim, at_most(kLanes, p.value_dim - d), out);
      sum = fma(load(to + d), load(out), sum);
    }
    return reduce_add(sum);
  }
  void weights_and_slopes(int tile, Range keys, int columns, int row, int rows, std::uint64_t* bits) const;
  template <bool Masked>
  void tiles_in_registers(int tile, int row, int rows, const std::uint64_t* bits) const;
  void parameter_gradients(Range keys, int columns, int row, int rows, const std::uint64_t* bits) const;
  void score_gradients(int columns, int row, int rows, const std::uint64_t* bits) const;
  void add_around_mask(const float* key_rows, float* dkv, int keys, int row, int rows, const std::uint64_t* bits) const;
};

/// weights [rows, 64] = P, slopes = the functor's; bits lose what a score of −∞ hides. Only the first `columns` of a
/// tile hold keys.
inline void GradientPiece::weights_and_slopes(int tile, Range keys, int columns, int row, int rows,
                                              std::uint64_t* bits) const {
  const int d = plan.padded_head_dim;
  product<false>(rows, columns, p.head_dim, s.queries + std::ptrdiff_t{row} * d, d,
                 s.keys + std::ptrdiff_t{tile} * kTileKeys * d, kTileKeys, s.weights, kTileKeys);
  if (g.parameters)
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < kTileKeys; j += kLanes)
        store(s.logits + i * kTileKeys + j, j < columns ? load(s.weights + i * kTileKeys + j) : 0.0f);
  if (p.score.self) {
    for (int i = 0; i < rows * kTileKeys; ++i) s.slopes[i] = 1;
    for_segments(p, w, row, rows, [&](const Segment& seg) {
      const int first = (seg.row - row) * kTileKeys;
      p.score.differentiate(p.score.self, {s.weights + first, kTileKeys, 1, tile_of(w, seg, keys)}, s.slopes + first);
    });
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j)
        if (s.weights[i * kTileKeys + j] == minus_infinity()) bits[i] &= ~(std::uint64_t{1} << j);
  }
  for (int i = 0; i < rows; ++i) {
    float* x = s.weights + i * kTileKeys;
    for (int j = 0; j < columns; j += kLanes) {
      const Vec e = exp2((load(x + j) - s.lse[row + i]) * kLog2E);
      store(x + j, bits[i] == kAllBits ? e : select(lanes_of(bits[i] >> j), e, 0.0f));
    }
  }
}

/// Where register tiles span all 64 keys and there is no functor: weights [rows, 64] = P and dscore = dS, each made
/// before its tile leaves the registers, the same bits as the three steps below: 3% of the pass.
template <bool Masked>
inline void GradientPiece::tiles_in_registers(int tile, int row, int rows, const std::uint64_t* bits) const {
  const int d = plan.padded_head_dim, v = plan.padded_value_dim;
  const float* keys = s.keys + std::ptrdiff_t{tile} * kTileKeys * d;
  const float* values = s.values + std::ptrdiff_t{tile} * kTileKeys * v;
  const auto each = [&](int i, Vec(&x)[kTileRows][kTileVecs], float* to, auto f) {
#pragma GCC unroll 8
    for (int k = 0; k < kTileRows; ++k)
#pragma GCC unroll 8
      for (int j = 0; j < kTileVecs; ++j) {
        const int at = (i + k) * kTileKeys + j * kLanes;
        const Vec y = f(x[k][j], row + i + k, at);
        if constexpr (Masked)
          store(to + at, select(lanes_of(bits[i + k] >> j * kLanes), y, 0.0f));
        else
          store(to + at, y);
      }
  };
  for (int i = 0; i < rows; i += kTileRows) {
    Vec x[kTileRows][kTileVecs];
    accumulate<Left::Upright>(s.queries + std::ptrdiff_t{row + i} * d, d, keys, kTileKeys, p.head_dim, x);
    each(i, x, s.weights, [&](Vec y, int r, int) { return exp2((y - s.lse[r]) * kLog2E); });
  }
  for (int i = 0; i < rows; i += kTileRows) {
    Vec x[kTileRows][kTileVecs];
    accumulate<Left::Upright>(s.dout + std::ptrdiff_t{row + i} * v, v, values, kTileKeys, p.value_dim, x);
    each(i, x, s.dscore, [&](Vec y, int r, int at) { return load(s.weights + at) * (y - s.delta[r]); });
  }
}

/// What the numbers inside the functor receive from a tile: dS before the functor's slope, times theirs.
inline void GradientPiece::parameter_gradients(Range keys, int columns, int row, int rows,
                                               const std::uint64_t* bits) const {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < kTileKeys; j += kLanes) {
      const int at = i * kTileKeys + j;
      Vec ds = 0.0f;
      if (j < columns) ds = load(s.weights + at) * (load(s.dscore + at) - s.delta[row + i]);
      store(s.shares + at, select(lanes_of(bits[i] >> j), ds, 0.0f));
    }
  for_segments(p, w, row, rows, [&](const Segment& seg) {
    const int first = (seg.row - row) * kTileKeys;
    p.score.collect(p.score.self, {s.logits + first, kTileKeys, 1, tile_of(w, seg, keys)}, s.shares + first,
                    g.parameters);
  });
}

/// dscore [rows, 64]: dP becomes dS.
inline void GradientPiece::score_gradients(int columns, int row, int rows, const std::uint64_t* bits) const {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; j += kLanes) {
      const int at = i * kTileKeys + j;
      Vec ds = load(s.weights + at) * (load(s.dscore + at) - s.delta[row + i]);
      if (p.score.self) ds = ds * load(s.slopes + at);
      store(s.dscore + at, bits[i] == kAllBits ? ds : select(lanes_of(bits[i] >> j), ds, 0.0f));
    }
}

/// The three sums where NaN or infinity lies behind some row's mask: 0 · NaN must not leak, so what is hidden is
/// stepped over.
inline void GradientPiece::add_around_mask(const float* key_rows, float* dkv, int keys, int row, int rows,
                                           const std::uint64_t* bits) const {
  const int d = plan.padded_head_dim, v = plan.padded_value_dim;
  const auto add = [](float factor, const float* from, float* to, int n) {
    for (int i = 0; i < n; i += kLanes) store(to + i, fma(factor, load(from + i), load(to + i)));
  };
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < keys; ++j) {
      if (!(bits[i] >> j & 1)) continue;
      const float weight = s.weights[i * kTileKeys + j], ds = s.dscore[i * kTileKeys + j];
      add(ds, s.queries + std::ptrdiff_t{row + i} * d, dkv + j * row_floats, d);
      add(weight, s.dout + std::ptrdiff_t{row + i} * v, dkv + j * row_floats + d, v);
      add(ds, key_rows + std::ptrdiff_t{j} * d, s.dq + std::ptrdiff_t{row + i} * d, d);
    }
}

/// Packs one tile of keys in the three ways that the products read it. True when all of it is finite.
inline bool pack_tile(const Problem& p, const GradientPlan& plan, const GradientScratch& s, const Piece& w, int tile,
                      int key) {
  const std::ptrdiff_t at = std::ptrdiff_t{tile} * kTileKeys;
  bool finite = true;
  for (int j = 0; j < kTileKeys && j < w.keys - key; j += kLanes) {
    const int n = at_most(kLanes, w.keys - key - j);
    std::int64_t k[kLanes], v[kLanes];
    find_rows(p, w, p.k, key + j, n, k), find_rows(p, w, p.v, key + j, n, v);
    float* values = s.values + at * plan.padded_value_dim;
    finite = pack_rows(p.k, k, n, p.head_dim, s.key_rows + at * plan.padded_head_dim, j) && finite;
    pack_turned(p.k, k, n, p.head_dim, s.rows, s.keys + at * plan.padded_head_dim, j);
    pack_turned(p.v, v, n, p.value_dim, s.rows, values, j);
    for (int d = 0; d < p.value_dim; ++d)
      for (int i = 0; i < kLanes; ++i) finite = finite && values[d * kTileKeys + j + i] * 0 == 0;
  }
  return finite;
}

/// One strip meets one tile of keys.
inline void GradientPiece::fold(int tile, Range keys, int row, int rows) {
  std::uint64_t bits[kStrip];
  // Empty tiles are never computed, nor read.
  const Cover cover = look_up_mask(p, w, row, rows, keys, bits);
  if (cover == Cover::Empty) return;
  if (!packed[tile]) keys_finite[tile] = pack_tile(p, plan, s, w, tile, keys.begin), packed[tile] = true;
  const int d = plan.padded_head_dim, v = plan.padded_value_dim, n = keys.end - keys.begin,
            columns = round_up(n, kLanes);
  const float* dout = s.dout + std::ptrdiff_t{row} * v;
  const float* key_rows = s.key_rows + std::ptrdiff_t{tile} * kTileKeys * d;
  float* dkv = sums + keys.begin * row_floats;
  if (kWeighsInRegisters && columns == kTileKeys && !p.score.self && !g.parameters) {
    for (int i = rows; i < round_up(rows, kTileRows); ++i) bits[i] = 0;
    if (cover == Cover::Full)
      tiles_in_registers<false>(tile, row, rows, bits);
    else
      tiles_in_registers<true>(tile, row, rows, bits);
  } else {
    weights_and_slopes(tile, keys, columns, row, rows, bits);
    product<false>(rows, columns, p.value_dim, dout, v, s.values + std::ptrdiff_t{tile} * kTileKeys * v, kTileKeys,
                   s.dscore, kTileKeys);
    if (g.parameters) parameter_gradients(keys, columns, row, rows, bits);
    score_gradients(columns, row, rows, bits);
  }
  if (!keys_finite[tile] || !strip_finite[row / kStrip]) return add_around_mask(key_rows, dkv, n, row, rows, bits);
  product<true, Left::Turned>(n, v, rows, s.weights, kTileKeys, dout, v, dkv + d, row_floats);
  product<true, Left::Turned>(n, d, rows, s.dscore, kTileKeys, s.queries + std::ptrdiff_t{row} * d, d, dkv, row_floats);
  product<true>(rows, d, n, s.dscore, kTileKeys, key_rows, d, s.dq + std::ptrdiff_t{row} * d, d);
}

inline GradientPlan plan_backward(const Problem& p) noexcept {
  GradientPlan plan;
  plan.padded_head_dim = round_up(p.head_dim, kLanes);
  plan.padded_value_dim = round_up(p.value_dim, kLanes);
  const int d = plan.padded_head_dim, v = plan.padded_value_dim;
  plan.key_tiles = at_least(1, at_most(kMostTiles, (256 << 10) / (kTileKeys * 4 * (2 * d + v))));
  const int rows = p.group() * p.queries;
  const int most = at_least(kStrip, at_most(1536, (3 << 20) / (4 * (2 * d + v))) / kStrip * kStrip);
  plan.piece_rows = at_least(kStrip, at_most(most, round_up(rows, kStrip)));
  // A dozen items keep threads busy; each split costs sums of its own, so short runs are not split.
  const int items = at_least(1, p.batches * p.kv_heads);
  plan.splits = at_least(1, at_most((12 + items - 1) / items, rows / 512));
  plan.items = std::int64_t{p.batches} * p.kv_heads * plan.splits;
  GradientScratch unused;
  plan.scratch_bytes = lay_out(plan, nullptr, &unused);
  return plan;
}

inline void backward(const Problem& p, const GradientProblem& g, const GradientPlan& plan, std::int64_t item,
                     std::byte* memory) noexcept {
  const FlushDenormals guard;
  const int split = static_cast<int>(item % plan.splits), kv_head = static_cast<int>(item / plan.splits % p.kv_heads),
            batch = static_cast<int>(item / plan.splits / p.kv_heads);
  const int all = p.group() * p.queries_of(batch), share = round_up((all + plan.splits - 1) / plan.splits, kStrip);
  GradientScratch s;
  lay_out(plan, memory, &s);
  const std::ptrdiff_t row_floats = plan.padded_head_dim + plan.padded_value_dim;
  const std::int64_t first_key = p.kv_begin ? p.kv_begin[batch] : std::int64_t{batch} * p.keys;
  float* sums = g.sums + ((std::int64_t{split} * p.kv_heads + kv_head) * g.key_rows + first_key) * row_floats;
  const int end = at_most(all, (split + 1) * share);
  for (int first = split * share; first < end; first += plan.piece_rows) {
    const Piece w{batch, kv_head, first, at_most(plan.piece_rows, end - first), p.queries_of(batch), p.keys_of(batch)};
    GradientPiece piece{p, g, plan, s, w, sums, row_floats, {}, {}, {}};
    piece.begin();
    const Range span = visible_span(p, w);
    for (int key = span.begin; key < span.end; key += plan.key_tiles * kTileKeys) {
      const int tiles = at_most(plan.key_tiles, (span.end - key + kTileKeys - 1) / kTileKeys);
      for (bool& packed : piece.packed) packed = false;
      for (int row = 0; row < w.rows; row += kStrip)
        for (int t = 0; t < tiles; ++t) {
          const Range keys{key + t * kTileKeys, at_most(key + (t + 1) * kTileKeys, w.keys)};
          piece.fold(t, keys, row, at_most(kStrip, w.rows - row));
        }
    }
    piece.finish();
  }
}

}  // namespace fovea::FOVEA_ISA
