// Fused attention on tiles of bf16 numbers: the forward pass of flash.hpp, transposed.
//
//   product  Sᵀ = K·Qᵀ         [64, kColumns]         A: keys, row by row as they come; B: queries in pairs
//   score    scale, the composed functor, the mask's bits turned
//   softmax  Pᵀ = e^(Sᵀ − base), l += ΣPᵀ             queries in the lanes: nothing crosses a vector
//   product  Oᵀ += Vᵀ·Pᵀ       [value_dim, kColumns]  A: values turned; B: two rows of Pᵀ side by side are its pairs
//
// q·k of bf16 numbers is exact but for its f32 sum; weights are rounded to bf16 before they meet values, which the
// contract's bound names: so this is for bf16 in and out. Few rows, and what else a table offers, are the business of
// kBase, the f32 kernels of the same machine.
//
// Where V holds NaN or infinity, it is taken out of the packed tile (a zero in its place leaves all sums their bits),
// and added apart to the queries that see it.
#pragma once
#include "kernels/generic/denormals.hpp"
#include "kernels/generic/tile_product.hpp"
#include "kernels/generic/transposed_softmax.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kValueRows = 16;  // value_dim is filled up to a multiple of it: a tile's rows, a turn's lanes
static_assert(kColumns % kLanes == 0 && kColumns <= kTileQueries);
static_assert(kTileKeys % kRowUnit == 0 && kValueRows % kRowUnit == 0 && kTileKeys % kDepthUnit == 0);

/// Scratch of one piece, beside kBase's own layout (they are never in use together).
struct Bf16Scratch {
  bf16* queries;             // [strips, padded head_dim / 2, kColumns, 2]
  float* out;                // [strips, padded value_dim, kColumns]
  float *base, *sum, *most;  // [strips, kColumns]
  float* probe_sums;         // [strips, 3 + segments, kColumns], where they are asked for
  float* probe_rows;         // [strips, kColumns, probe_floats(p)], see ColumnProbes
  bf16* keys;                // [key_tiles, 64, padded head_dim]
  bf16* values;              // [key_tiles, padded value_dim, 64]
  bf16* rows;                // [2, the longer padded dim] before the turn
  std::uint32_t* squares;    // [32, padded value_dim] pairs of keys before the turn
  float* scores;             // [64, kColumns]
  bf16* weights;             // [32, kColumns, 2]
  float* result;             // [padded value_dim]
};
struct Bf16Sizes {
  int dims, value_dims, strips, key_tiles;  // padded, of a piece, of a block
  int probe_sums, probe_rows;               // of a query
  explicit Bf16Sizes(const Problem& p, const Plan& plan)
      : dims(round_up(p.head_dim, kDepthUnit)),
        value_dims(round_up(p.value_dim, kValueRows)),
        strips((plan.query_rows + kColumns - 1) / kColumns),
        key_tiles(plan.key_tiles),
        probe_sums(p.probes ? 3 + p.probes->segments : 0),
        probe_rows(probe_floats(p)) {}
};
inline std::size_t lay_out(const Bf16Sizes& n, std::byte* memory, Bf16Scratch* s) {
  std::size_t used = 0;
  const auto take = [&](std::int64_t bytes) {
    void* at = memory ? memory + used : nullptr;  // null: only the size is asked for
    used += static_cast<std::size_t>((bytes + 63) / 64 * 64);
    return at;
  };
  const std::int64_t d = n.dims, v = n.value_dims, strips = n.strips, tiles = n.key_tiles;
  s->queries = static_cast<bf16*>(take(strips * d * kColumns * 2));
  s->out = static_cast<float*>(take(strips * v * kColumns * 4));
  s->base = static_cast<float*>(take(strips * kColumns * 4));
  s->sum = static_cast<float*>(take(strips * kColumns * 4));
  s->most = static_cast<float*>(take(strips * kColumns * 4));
  s->probe_sums = static_cast<float*>(take(strips * kColumns * 4 * n.probe_sums));
  s->probe_rows = static_cast<float*>(take(strips * kColumns * 4 * n.probe_rows));
  s->keys = static_cast<bf16*>(take(tiles * kTileKeys * d * 2));
  s->values = static_cast<bf16*>(take(tiles * kTileKeys * v * 2));
  s->rows = static_cast<bf16*>(take(2 * (d > v ? d : v) * 2));
  s->squares = static_cast<std::uint32_t*>(take(kTileKeys / 2 * v * 4));
  s->scores = static_cast<float*>(take(kTileKeys * kColumns * 4));
  s->weights = static_cast<bf16*>(take(kTileKeys * kColumns * 2));
  s->result = static_cast<float*>(take(v * 4));
  return used;
}

/// One piece: its strips of queries, and the block of keys at hand.
struct Bf16Piece {
  const Problem& p;
  const Piece& w;
  const Bf16Scratch& s;
  Bf16Sizes n;
  Bf16Unit& unit;
  bool wanted[kMostKeyTiles], all_finite[kMostKeyTiles];

  int rows_of(int strip) const { return at_most(kColumns, w.rows - strip * kColumns); }
  StripState state(int strip, const ColumnProbes& probes) const {
    const std::ptrdiff_t at = std::ptrdiff_t{strip} * kColumns;
    return {
        s.base + at, s.sum + at, s.most + at, s.out + at * n.value_dims, n.value_dims, p.probes ? &probes : nullptr};
  }
  ColumnProbes probes(int strip) const {
    const std::ptrdiff_t at = std::ptrdiff_t{strip} * kColumns;
    return {p, s.probe_sums + at * n.probe_sums, s.probe_rows + at * n.probe_rows};
  }
  Range keys_of(Range block, int tile) const {
    const int key = block.begin + tile * kTileKeys;
    return {key, at_most(key + kTileKeys, w.keys)};
  }
  void begin(int strip) const;
  void pack(Range keys, int tile);
  void fold(Range keys, int tile, int strip) const;
  void add_infinite(Range keys, int strip) const;
  void finish(int strip) const;

 private:
  bool look_up(Range keys, int strip, std::uint64_t* bits) const;
  bool pack_values(Range keys, bf16* to) const;
};

/// Queries in pairs of numbers, and the state of having seen nothing but the sink. Columns beyond the rows see nothing.
inline void Bf16Piece::begin(int strip) const {
  bf16* q = s.queries + std::ptrdiff_t{strip} * kColumns * n.dims;
  const ColumnProbes probes = this->probes(strip);
  const StripState state = this->state(strip, probes);
  for (int i = 0; i < n.dims * kColumns; ++i) q[i].bits = 0;
  for (int i = 0; i < n.value_dims * kColumns; ++i) state.out[i] = 0;
  for (int c = 0; c < kColumns; ++c) {
    state.base[c] = state.most[c] = minus_infinity(), state.sum[c] = 0;
    if (p.probes) probes.begin(c, 0);
  }
  for_segments(p, w, strip * kColumns, rows_of(strip), [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const int c = g.row + i - strip * kColumns;
      copy_row(p.q, p.q_offset(w.batch, g.head, g.query + i), p.head_dim, s.rows, n.dims);
      for (int d = 0; d < n.dims; ++d) q[(d / 2 * kColumns + c) * 2 + d % 2] = s.rows[d];
      if (p.probes) probes.begin(c, g.query + i);
      if (!p.sinks || p.sinks[g.head] == minus_infinity()) continue;
      state.base[c] = in_octaves(p.sinks[g.head]), state.sum[c] = 1;
    }
  });
}

/// to [padded value_dim, 64]: values turned, a row a channel. Pairs of keys are made first, and turned as floats are.
inline bool Bf16Piece::pack_values(Range keys, bf16* to) const {
  const int count = keys.end - keys.begin, dims = n.value_dims;
  std::int64_t at[kTileKeys];
  find_rows(p, w, p.v, keys.begin, count, at);
  bool all = true;
  bf16* pair[2] = {s.rows, s.rows + dims};
  for (int j = 0; j < kTileKeys; j += 2) {
    for (int i = 0; i < 2; ++i) {
      copy_row(p.v, j + i < count ? at[j + i] : 0, j + i < count ? p.value_dim : 0, pair[i], dims);
      for (int d = 0; d < dims; ++d)
        if (!finite(pair[i][d])) pair[i][d].bits = 0, all = false;
    }
    for (int d = 0; d < dims; ++d)
      s.squares[j / 2 * dims + d] = std::uint32_t{pair[0][d].bits} | static_cast<std::uint32_t>(pair[1][d].bits) << 16;
  }
  for (int d = 0; d < dims; d += kLanes)
    for (int j = 0; j < kTileKeys / 2; j += kLanes) {
      Vec square[kLanes];
      for (int i = 0; i < kLanes; ++i) __builtin_memcpy(&square[i], s.squares + (j + i) * dims + d, sizeof square[i]);
      transpose(square);
      for (int i = 0; i < kLanes; ++i)
        __builtin_memcpy(static_cast<void*>(to + (d + i) * kTileKeys + 2 * j), &square[i], sizeof square[i]);
    }
  return all;
}

inline void Bf16Piece::pack(Range keys, int tile) {
  const int count = keys.end - keys.begin;
  bf16* to = s.keys + std::ptrdiff_t{tile} * kTileKeys * n.dims;
  std::int64_t at[kTileKeys];
  find_rows(p, w, p.k, keys.begin, count, at);
  for (int j = 0; j < kTileKeys; ++j)
    copy_row(p.k, j < count ? at[j] : 0, j < count ? p.head_dim : 0, to + j * n.dims, n.dims);
  all_finite[tile] = pack_values(keys, s.values + std::ptrdiff_t{tile} * kTileKeys * n.value_dims);
}

/// bits [64] of a strip: 0 in columns that are no rows.
inline bool Bf16Piece::look_up(Range keys, int strip, std::uint64_t* bits) const {
  for (int c = 0; c < 64; ++c) bits[c] = 0;
  return look_up_mask(p, w, strip * kColumns, rows_of(strip), keys, bits) != Cover::Empty;
}

/// Folds one tile of keys into a strip of queries.
inline void Bf16Piece::fold(Range keys, int tile, int strip) const {
  std::uint64_t bits[64];
  if (!look_up(keys, strip, bits)) return;  // empty tiles are never computed
  const bf16 *k = s.keys + std::ptrdiff_t{tile} * kTileKeys * n.dims,
             *v = s.values + std::ptrdiff_t{tile} * kTileKeys * n.value_dims;
  bf16_product<false>(unit, kTileKeys, n.dims, k, n.dims, s.queries + std::ptrdiff_t{strip} * kColumns * n.dims,
                      s.scores);
  auto factor = static_cast<float>(p.scale * score_unit(p));
  if (p.score.self) {
    for (int i = 0; i < kTileKeys * kColumns; i += kLanes) store(s.scores + i, load(s.scores + i) * factor);
    factor = in_octaves(1);
    for_segments(p, w, strip * kColumns, rows_of(strip), [&](const Segment& g) {
      p.score.apply[kTier](p.score.self, {s.scores + (g.row - strip * kColumns), 1, kColumns, tile_of(w, g, keys)});
    });
  }
  bool all = true;
  for (int c = 0; c < kColumns; ++c) all = all && bits[c] == kAllBits;
  if (!all) transpose_bits(bits);
  const ColumnProbes probes = this->probes(strip);
  const StripState state = this->state(strip, probes);
  transposed_softmax(state, factor, all ? nullptr : bits, keys.begin, s.scores, s.weights);
  bf16_product<true>(unit, n.value_dims, kTileKeys, v, kTileKeys, s.weights, state.out);
  if (!all_finite[tile]) add_infinite(keys, strip);
}

/// O += P·V for the numbers of V that are not finite, to the queries that see them.
inline void Bf16Piece::add_infinite(Range keys, int strip) const {
  float* out = s.out + std::ptrdiff_t{strip} * kColumns * n.value_dims;  // [value_dims, kColumns]
  std::int64_t at[kTileKeys];
  find_rows(p, w, p.v, keys.begin, keys.end - keys.begin, at);
  for (int j = 0; j < keys.end - keys.begin; ++j) {
    const bf16* row = static_cast<const bf16*>(p.v.data) + at[j];
    for (int d = 0; d < p.value_dim; ++d) {
      if (finite(row[d * p.v.dim])) continue;
      for (int c = 0; c < rows_of(strip); ++c) {
        if (s.scores[j * kColumns + c] == minus_infinity()) continue;  // hidden
        out[d * kColumns + c] += float(s.weights[(j / 2 * kColumns + c) * 2 + j % 2]) * float(row[d * p.v.dim]);
      }
    }
  }
}

/// O/l rounded once, LSE, and what was gathered.
inline void Bf16Piece::finish(int strip) const {
  const ColumnProbes probes = this->probes(strip);
  const StripState state = this->state(strip, probes);
  for_segments(p, w, strip * kColumns, rows_of(strip), [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const int c = g.row + i - strip * kColumns;
      for (int d = 0; d < p.value_dim; ++d) s.result[d] = state.out[d * kColumns + c];
      const float l = state.sum[c];
      narrow_row(s.result, l == 0 ? 0.0f : 1 / l, p.value_dim, p.out, p.out_offset(w.batch, g.head, g.query + i));
      const std::int64_t at = p.lse_offset(w.batch, g.head, g.query + i);
      if (p.most) p.most[at] = l != l ? l : from_octaves(state.most[c]);
      if (p.lse) p.lse[at] = lse_of(state.base[c], l);
      if (!p.probes) continue;
      const RowProbe row = probes.row(c);
      const RowTotals totals{l,          state.base[c], probes.surprise()[c], probes.travelled()[c], row.first(),
                             row.kept(), row.key()};
      write_probe(
          *p.probes, totals, [&](int k) { return probes.segment(k)[c]; }, at);
    }
  });
}

inline Plan plan_bf16(const Problem& p) noexcept {
  Plan plan = kBase.plan(p);
  Bf16Scratch unused;
  const std::size_t own = lay_out(Bf16Sizes(p, plan), nullptr, &unused);
  if (own > plan.scratch_bytes) plan.scratch_bytes = own;
  return plan;
}

inline void forward_bf16(const Problem& p, const Plan& plan, std::int64_t item, std::byte* memory) noexcept {
  const FlushDenormals guard;
  const auto [w, split, partials] = item_of(p, plan, item);
  if (few_rows(p, w.batch)) return kBase.forward(p, plan, item, memory);
  Bf16Scratch s;
  Bf16Unit unit;
  const Bf16Sizes sizes(p, plan);
  lay_out(sizes, memory, &s);
  Bf16Piece piece{p, w, s, sizes, unit, {}, {}};
  const int strips = (w.rows + kColumns - 1) / kColumns;
  for (int strip = 0; strip < strips; ++strip) piece.begin(strip);
  const Range span = visible_span(p, w);
  for (Range block = span; block.begin < span.end; block.begin += sizes.key_tiles * kTileKeys) {
    const int tiles = at_most(sizes.key_tiles, (span.end - block.begin + kTileKeys - 1) / kTileKeys);
    for (bool& wanted : piece.wanted) wanted = false;
    for (int strip = 0; strip < strips; ++strip)
      for (int tile = 0; tile < tiles; ++tile) {
        const Range keys = piece.keys_of(block, tile);
        if (!piece.wanted[tile]) {  // packed when the first strip that sees some of it comes by
          std::uint64_t bits[64];
          if (look_up_mask(p, w, strip * kColumns, piece.rows_of(strip), keys, bits) == Cover::Empty) continue;
          piece.pack(keys, tile), piece.wanted[tile] = true;
        }
        piece.fold(keys, tile, strip);
      }
  }
  for (int strip = 0; strip < strips; ++strip) piece.finish(strip);
}

/// Gradients take the f32 kernels of the same machine.
inline GradientPlan plan_backward_bf16(const Problem& p) noexcept { return kBase.plan_backward(p); }
inline void backward_bf16(const Problem& p, const GradientProblem& g, const GradientPlan& plan, std::int64_t item,
                          std::byte* memory) noexcept {
  kBase.backward(p, g, plan, item, memory);
}

}  // namespace fovea::FOVEA_ISA
