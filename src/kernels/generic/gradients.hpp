// The backward pass in O(n) memory: weights rebuilt from LSE, tile by tile, never kept (Dao 2023, arXiv 2307.08691).
//
// With P = e^(S − lse), dP = dout·Vᵀ and delta = Σ dout·out of a row (= Σ_j P_j dP_j):
//
//   dV += Pᵀ·dout      dS = P ∘ (dP − delta) ∘ functor'      dK += dSᵀ·Q, dQ += dS·K, times scale
//
// Five products of [48, 64] tiles against the forward pass's two, written once on operands (gradient_operands.hpp):
// f32, or pairs of bf16. One item owns a run of the rows of one KV head's group and walks them in pieces; for every
// block of keys it packs Kᵀ, Vᵀ and K, and every strip of 48 rows meets every tile. dK and dV go to the item's own
// sums, which are added up in a fixed order afterwards: the same bits for any number of threads.
//
// On Zen 5 the products dV, dK and dQ run at 96% of the ceiling or more, ends of register tiles and sums in L2 included
// (longer strips gain nothing); what P and dS cost beside their two products, head_dim 64: 12% of the five in bf16, 4%
// in f32.
#pragma once
#include "kernels/generic/gradient_operands.hpp"
#include "kernels/generic/softmax.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kRowsAhead = 8;  // are asked for: rows of heads side by side lie in pages of their own

/// One piece of an item: its rows, and all that its steps share.
template <class O>
struct GradientPiece {
  using Number = typename O::Number;
  static constexpr int kNumbers = Step<Number>::kNumbers;

  const Problem& p;
  const GradientProblem& g;
  const GradientPlan& plan;
  const typename O::Scratch& s;
  Piece w;
  float* sums;  // [keys of the batch row, row_floats]: dk, dv of each key
  std::ptrdiff_t row_floats;
  bool strip_finite[1536 / kStrip];
  bool packed[kMostKeyTiles], keys_finite[kMostKeyTiles];  // of the block of keys at hand

  /// The rows that enter: Q, dout, delta, lse; nothing yet in dQ. The rest of the last register tile are rows of zeros
  /// that see nothing.
  void begin() {
    const int d = plan.padded_head_dim, v = plan.padded_value_dim, whole = round_up(w.rows, kTileRows);
    for (int row = 0; row < w.rows; row += kStrip) strip_finite[row / kStrip] = true;
    for (int i = 0; i < w.rows * d; i += kLanes) store(s.dq + i, 0.0f);
    for_segments(p, w, 0, w.rows, [&](const Segment& seg) {
      for (int i = 0; i < seg.rows; ++i) {
        if (i + kRowsAhead < seg.rows) ask_for_rows(seg.head, seg.query + i + kRowsAhead);
        read_rows(seg.head, seg.query + i, seg.row + i);
      }
    });
    for (int r = w.rows; r < whole; ++r) {
      for (int j = 0; j < d; ++j) s.queries[r * d + j] = Number(0.0f);
      for (int j = 0; j < v; ++j) s.dout[r * v + j] = Number(0.0f);
      s.shift[r] = O::shift(-minus_infinity()), s.delta[r] = 0;
    }
    O::finish_rows(s, whole, d, v);
  }
  /// dq of the piece's rows, rounded once.
  void finish() const {
    for_segments(p, w, 0, w.rows, [&](const Segment& seg) {
      for (int i = 0; i < seg.rows; ++i) {
        prefetch_row<1>(g.dq, offset(g.dq, seg.head, seg.query + at_most(i + kRowsAhead, seg.rows - 1)), p.head_dim);
        narrow_row(s.dq + std::ptrdiff_t{seg.row + i} * plan.padded_head_dim, static_cast<float>(p.scale), p.head_dim,
                   g.dq, offset(g.dq, seg.head, seg.query + i));
      }
    });
  }
  void fold(int tile, Range keys, int row, int rows);

 private:
  std::int64_t offset(const Operand& x, int head, int t) const {
    return w.batch * x.batch + (t + (p.q_begin ? p.q_begin[w.batch] : 0)) * x.time + head * x.head;
  }
  const Number* keys_of(int tile) const {
    return s.keys + std::ptrdiff_t{tile} * kTileKeys * round_up(p.head_dim, O::kDims);
  }
  const Number* values_of(int tile) const {
    return s.values + std::ptrdiff_t{tile} * kTileKeys * round_up(p.value_dim, O::kDims);
  }
  void ask_for_rows(int head, int t) const {
    prefetch_row<0>(p.q, p.q_offset(w.batch, head, t), p.head_dim);
    prefetch_row<0>(p.out, p.out_offset(w.batch, head, t), p.value_dim);
    prefetch_row<0>(g.dout, offset(g.dout, head, t), p.value_dim);
  }
  /// Query t of a head becomes row r.
  void read_rows(int head, int t, int r) {
    const int d = plan.padded_head_dim, v = plan.padded_value_dim;
    Number *q = s.queries + r * d, *o = s.dout + r * v;
    O::read_query(p, p.q_offset(w.batch, head, t), q, d);
    O::read_row(g.dout, offset(g.dout, head, t), p.value_dim, o, v);
    float* out = s.rows;
    for (int j = p.value_dim; j < v; ++j) out[j] = 0;
    widen_row(p.out, p.out_offset(w.batch, head, t), p.value_dim, out);
    Vec poison = 0.0f, delta = 0.0f;  // poison: 0, or NaN where a row holds what is not finite
    for (int j = 0; j < d; j += kLanes) poison = fma(load(q + j), 0.0f, poison);
    for (int j = 0; j < v; j += kLanes) {
      const Vec x = load(o + j);
      poison = fma(x, 0.0f, poison), delta = fma(x, load(out + j), delta);
    }
    if (!(reduce_add(poison) == 0)) strip_finite[r / kStrip] = false;
    const std::int64_t at = p.lse_offset(w.batch, head, t);
    s.shift[r] = O::shift(p.lse[at] == minus_infinity() ? -minus_infinity() : p.lse[at]);
    s.delta[r] = g.delta[at] = reduce_add(delta);
  }
  void pack(int tile, int key);
  void weights_and_slopes(int tile, Range keys, int columns, int row, int rows, std::uint64_t* bits) const;
  template <bool Masked>
  void whole_tile(int tile, int row, int rows, const std::uint64_t* bits) const;
  void parameter_gradients(Range keys, int columns, int row, int rows, const std::uint64_t* bits) const;
  void score_gradients(int columns, int row, int rows, const std::uint64_t* bits) const;
  void add_around_mask(float* dkv, Range keys, int row, int rows, const std::uint64_t* bits) const;
};

/// weights [rows, 64] = P, slopes = the functor's; bits lose what a score of −∞ hides. Only the first `columns` of a
/// tile hold keys.
template <class O>
inline void GradientPiece<O>::weights_and_slopes(int tile, Range keys, int columns, int row, int rows,
                                                 std::uint64_t* bits) const {
  const int d = plan.padded_head_dim;
  product<false>(rows, columns, round_up(p.head_dim, kNumbers), s.queries + std::ptrdiff_t{row} * d, d, keys_of(tile),
                 kTileKeys, s.weights, kTileKeys, Alone(), O::factor(p));
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
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < kTileKeys; j += kLanes) {
      float* x = s.weights + i * kTileKeys + j;
      store(x, j < columns ? select(lanes_of(bits[i] >> j), O::weight(load(x), 1, s.shift[row + i]), 0.0f) : 0.0f);
    }
}

/// Beside the products of dP's register tile its scores become weights: a vector of two rows at a time.
template <class O, bool Masked>
struct WeighRows {
  static constexpr int kTimes = kTileRows / 2, kParts = kTileVecs;
  const float *scores, *shift;  // [kStrip, 64], [kStrip] (not by way of Scratch: that is read again after every store)
  float* weights;               // [kStrip, 64]
  typename O::Number* pairs;    // likewise, as products read them
  const std::uint64_t* bits;
  float factor;
  int first;  // of the strip, the tile's

  [[gnu::always_inline]] void operator()(int i, int part) const {
    const int at = first + 2 * i, j = part * kLanes;
    Vec weight[2];
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const int place = (at + k) * kTileKeys + j;
      weight[k] = O::weight(load(scores + place), factor, shift[at + k]);
      if constexpr (Masked) weight[k] = select(lanes_of(bits[at + k] >> j), weight[k], 0.0f);
      store(weights + place, weight[k]);
    }
    O::put_weights(pairs, at, j, weight[0], weight[1]);
  }
};

/// P and dS as operands where register tiles span all 64 keys and there is no functor. Scores become weights beside the
/// products of dP, as in weigh_beside(), and dS is made before its tile leaves the registers.
template <class O>
template <bool Masked>
inline void GradientPiece<O>::whole_tile(int tile, int row, int rows, const std::uint64_t* bits) const {
  const int d = plan.padded_head_dim, v = plan.padded_value_dim, depth = round_up(p.value_dim, kNumbers);
  const Number *values = values_of(tile), *dout = s.dout + std::ptrdiff_t{row} * v;
  const float* delta = s.delta + row;
  WeighRows<O, Masked> weigh{s.dscore, s.shift + row, s.weights, s.weight_pairs, bits, O::factor(p), 0};
  product<false>(round_up(rows, kTileRows), kTileKeys, round_up(p.head_dim, kNumbers),
                 s.queries + std::ptrdiff_t{row} * d, d, keys_of(tile), kTileKeys, s.dscore, kTileKeys);
  for (int i = 0; i < rows; i += kTileRows) {
    Vec x[kTileRows][kTileVecs];
    weigh.first = i;
    accumulate<Left::Upright>(dout + i * v, v, values, kTileKeys, depth, x, weigh);
#pragma GCC unroll 8
    for (int k = 0; k < kTileRows; ++k)
#pragma GCC unroll 8
      for (int j = 0; j < kTileVecs; ++j) {
        x[k][j] = load(weigh.weights + (i + k) * kTileKeys + j * kLanes) * (x[k][j] - delta[i + k]);
        if constexpr (Masked) x[k][j] = select(lanes_of(bits[i + k] >> j * kLanes), x[k][j], 0.0f);
      }
    O::put_dscores(s, i, x);
  }
}

/// What the numbers inside the functor receive from a tile: dS before the functor's slope, times theirs.
template <class O>
inline void GradientPiece<O>::parameter_gradients(Range keys, int columns, int row, int rows,
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
template <class O>
inline void GradientPiece<O>::score_gradients(int columns, int row, int rows, const std::uint64_t* bits) const {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < kTileKeys; j += kLanes) {
      const int at = i * kTileKeys + j;
      Vec ds = 0.0f;
      if (j < columns) {
        ds = load(s.weights + at) * (load(s.dscore + at) - s.delta[row + i]);
        if (p.score.self) ds = ds * load(s.slopes + at);
      }
      store(s.dscore + at, select(lanes_of(bits[i] >> j), ds, 0.0f));
    }
}

/// The three sums where NaN or infinity lies behind some row's mask: 0 · NaN must not leak, so what is hidden is
/// stepped over.
template <class O>
inline void GradientPiece<O>::add_around_mask(float* dkv, Range keys, int row, int rows,
                                              const std::uint64_t* bits) const {
  const int d = plan.padded_head_dim, v = plan.padded_value_dim;
  const auto add = [](float factor, const auto* from, float* to, int n) {
    for (int i = 0; i < n; i += kLanes) store(to + i, fma(factor, load(from + i), load(to + i)));
  };
  for (int j = 0; j < keys.end - keys.begin; ++j, dkv += row_floats) {
    F32Gradients::read_row(p.k, p.k_offset(w.batch, w.kv_head, keys.begin + j), p.head_dim, s.rows, d);
    for (int i = 0; i < rows; ++i) {
      if (!(bits[i] >> j & 1)) continue;
      const float weight = s.weights[i * kTileKeys + j], ds = s.dscore[i * kTileKeys + j];
      add(ds, s.queries + std::ptrdiff_t{row + i} * d, dkv, d);
      add(weight, s.dout + std::ptrdiff_t{row + i} * v, dkv + d, v);
      add(ds, s.rows, s.dq + std::ptrdiff_t{row + i} * d, d);
    }
  }
}

/// Packs one tile of keys, from `key` on, in the three ways that the products read it.
template <class O>
inline void GradientPiece<O>::pack(int tile, int key) {
  Number *keys = s.keys + (keys_of(tile) - s.keys), *values = s.values + (values_of(tile) - s.values),
         *pairs = s.key_pairs + std::ptrdiff_t{tile} * kTileKeys * plan.padded_head_dim;
  bool finite = true;
  for (int j = 0; j < kTileKeys && j < w.keys - key; j += kLanes) {
    const int n = at_most(kLanes, w.keys - key - j);
    std::int64_t k[kLanes], v[kLanes];
    ask_for_keys(p, w, p.k, key + j + kLanes, w.keys, p.head_dim);
    ask_for_keys(p, w, p.v, key + j + kLanes, w.keys, p.value_dim);
    find_rows(p, w, p.k, key + j, n, k), find_rows(p, w, p.v, key + j, n, v);
    finite = O::pack_pairs(p.k, k, n, p.head_dim, s, pairs, j) && finite;
    O::pack_turned(p.k, k, n, p.head_dim, s, keys, j);
    O::pack_turned(p.v, v, n, p.value_dim, s, values, j);
    Vec poison = 0.0f;
    for (int i = 0; i < round_up(p.value_dim, kNumbers) / kNumbers; ++i)
      for (int part = 0; part < kNumbers; ++part)
        poison = fma(load(values + (i * kTileKeys + j) * kNumbers + part * kLanes), 0.0f, poison);
    finite = reduce_add(poison) == 0 && finite;
  }
  packed[tile] = true, keys_finite[tile] = finite;
}

/// One strip meets one tile of keys.
template <class O>
inline void GradientPiece<O>::fold(int tile, Range keys, int row, int rows) {
  std::uint64_t bits[kStrip];
  // Empty tiles are never computed, nor read.
  const Cover cover = look_up_mask(p, w, row, rows, keys, bits);
  if (cover == Cover::Empty) return;
  if (!packed[tile]) pack(tile, keys.begin);
  const bool finite = keys_finite[tile] && strip_finite[row / kStrip];
  const int d = plan.padded_head_dim, v = plan.padded_value_dim, n = keys.end - keys.begin,
            columns = round_up(n, kLanes);
  const std::ptrdiff_t query = std::ptrdiff_t{row} * d, out = std::ptrdiff_t{row} * v;
  float* dkv = sums + keys.begin * row_floats;
  if (kTileSpansKeys && finite && columns == kTileKeys && !p.score.self && !g.parameters) {
    for (int i = rows; i < round_up(rows, kTileRows); ++i) bits[i] = 0;
    if (cover == Cover::Full)
      whole_tile<false>(tile, row, rows, bits);
    else
      whole_tile<true>(tile, row, rows, bits);
  } else {
    weights_and_slopes(tile, keys, columns, row, rows, bits);
    product<false>(rows, columns, round_up(p.value_dim, kNumbers), s.dout + out, v, values_of(tile), kTileKeys,
                   s.dscore, kTileKeys);
    if (g.parameters) parameter_gradients(keys, columns, row, rows, bits);
    score_gradients(columns, row, rows, bits);
    if (!finite) return add_around_mask(dkv, keys, row, rows, bits);
    O::finish_strip(s, rows);
  }
  const int depth = round_up(rows, kNumbers);
  product<true, Left::Turned>(n, v, depth, s.weight_pairs, kTileKeys, s.dout_pairs + out, v, dkv + d, row_floats);
  product<true, Left::Turned>(n, d, depth, s.dscore_pairs, kTileKeys, s.query_pairs + query, d, dkv, row_floats);
  product<true>(rows, d, round_up(n, kNumbers), s.dscores, kTileKeys,
                s.key_pairs + std::ptrdiff_t{tile} * kTileKeys * d, d, s.dq + query, d);
}

inline GradientPlan plan_backward(const Problem& p) noexcept {
  GradientPlan plan;
  plan.padded_head_dim = round_up(p.head_dim, kLanes);
  plan.padded_value_dim = round_up(p.value_dim, kLanes);
  const int d = plan.padded_head_dim, v = plan.padded_value_dim;
  plan.key_tiles = at_least(1, at_most(kMostKeyTiles, (256 << 10) / (kTileKeys * 4 * (2 * d + v))));
  const int rows = p.group() * p.queries;
  const int most = at_least(kStrip, at_most(1536, (3 << 20) / (4 * (2 * d + v))) / kStrip * kStrip);
  // Items keep threads busy, two dozen of them where there is much to do; but each split has sums of its own, which to
  // clear and add up took 7% of a bf16 pass of 2048 rows in two. So eight items of 512 rows, or more of 2048.
  const int items = at_least(1, p.batches * p.kv_heads);
  const auto split = [&](int wanted, int least) { return at_most((wanted + items - 1) / items, rows / least); };
  plan.splits = at_least(1, at_least(split(8, 512), split(24, 2048)));
  const int share = round_up((rows + plan.splits - 1) / plan.splits, kStrip), pieces = (share + most - 1) / most;
  plan.piece_rows = at_least(kStrip, round_up((share + pieces - 1) / at_least(1, pieces), kStrip));
  plan.items = std::int64_t{p.batches} * p.kv_heads * plan.splits;
  constexpr std::int64_t kMostSums = 16 << 20;  // bytes: what caches do not have is better shared by all heads
  plan.sum_rows = plan.splits == 1 && std::int64_t{p.keys} * (d + v) * 4 <= kMostSums ? p.keys : 0;
  F32Gradients::Scratch unused;
  plan.scratch_bytes = lay_out(plan, nullptr, &unused);
  return plan;
}

template <class O>
inline void backward_item(const Problem& p, const GradientProblem& g, const GradientPlan& plan, std::int64_t item,
                          std::byte* memory) {
  const int split = static_cast<int>(item % plan.splits), kv_head = static_cast<int>(item / plan.splits % p.kv_heads),
            batch = static_cast<int>(item / plan.splits / p.kv_heads);
  const int all = p.group() * p.queries_of(batch), share = round_up((all + plan.splits - 1) / plan.splits, kStrip);
  typename O::Scratch s;
  lay_out(plan, memory, &s);
  const std::ptrdiff_t row_floats = plan.padded_head_dim + plan.padded_value_dim;
  const std::int64_t first_key = p.kv_begin ? p.kv_begin[batch] : std::int64_t{batch} * p.keys;
  const bool own = plan.sum_rows > 0;  // then what is summed is complete, and becomes dk and dv while caches have it
  float* sums =
      own ? s.sums : g.sums + ((std::int64_t{split} * p.kv_heads + kv_head) * g.key_rows + first_key) * row_floats;
  if (own) __builtin_memset(sums, 0, sizeof(float) * static_cast<std::size_t>(p.keys_of(batch) * row_floats));
  const int end = at_most(all, (split + 1) * share);
  for (int first = split * share; first < end; first += plan.piece_rows) {
    const Piece w{batch, kv_head, first, at_most(plan.piece_rows, end - first), p.queries_of(batch), p.keys_of(batch)};
    GradientPiece<O> piece{p, g, plan, s, w, sums, row_floats, {}, {}, {}};
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
  const float factor = O::factor(p);
  const auto place = [&](const Operand& x, int key) {
    return batch * x.batch + (key + (p.kv_begin ? p.kv_begin[batch] : 0)) * x.time + kv_head * x.head;
  };
  for (int key = 0; key < p.keys_of(batch) && (own || factor != 1); ++key) {
    float *dk = sums + key * row_floats, *dv = dk + plan.padded_head_dim;
    if (own) {
      const int later = at_most(key + kRowsAhead, p.keys_of(batch) - 1);
      prefetch_row<1>(g.dk, place(g.dk, later), p.head_dim), prefetch_row<1>(g.dv, place(g.dv, later), p.value_dim);
      narrow_row(dk, factor, p.head_dim, g.dk, place(g.dk, key));
      narrow_row(dv, 1, p.value_dim, g.dv, place(g.dv, key));
    } else {
      for (int d = 0; d < plan.padded_head_dim; d += kLanes) store(dk + d, load(dk + d) * factor);
    }
  }
}

inline void backward(const Problem& p, const GradientProblem& g, const GradientPlan& plan, std::int64_t item,
                     std::byte* memory) noexcept {
  const FlushDenormals guard;
  backward_item<F32Gradients>(p, g, plan, item, memory);
}

}  // namespace fovea::FOVEA_ISA
