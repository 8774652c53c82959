// Fused attention on tiles of bf16 numbers: the forward pass of flash.hpp, transposed.
//
//   product  Sᵀ = K·Qᵀ         [64, kColumns]         A: keys, row by row as they come; B: queries in pairs
//   score    scale, the composed functor, the mask's bits turned
//   softmax  Pᵀ = e^(Sᵀ − base), l += ΣPᵀ             queries in the lanes: nothing crosses a vector
//   product  Oᵀ += Vᵀ·Pᵀ       [value_dim, kColumns]  A: values turned; B: two rows of Pᵀ side by side are its pairs
//
// Written once for operands in one part, bf16 in and out (q·k is exact but for its f32 sum; weights are rounded to bf16
// before they meet values, which the contract's bound names), and in three, which hold all of a float: the products of
// f32 numbers, of any dtype in and out. Few rows, and what else a table offers, are the business of kBase, the f32
// kernels of the same machine.
//
// Numbers of Q, K and V that aren't finite are taken out of the operands (a zero in their place leaves all sums their
// bits): scores that such a number is in are made apart, and such values added apart to the queries that see them.
#pragma once
#include "kernels/generic/denormals.hpp"
#include "kernels/generic/gradients_tiles.hpp"
#include "kernels/generic/tile_product.hpp"
#include "kernels/generic/transposed_softmax.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kValueRows = 16;  // value_dim is filled up to a multiple of it: a tile's rows, a turn's lanes
static_assert(kColumns % kLanes == 0 && kColumns <= kTileQueries);
static_assert(kTileKeys % kRowUnit == 0 && kValueRows % kRowUnit == 0 && kTileKeys % kDepthUnit == 0);

/// Scratch of one piece, beside kBase's own layout (they are never in use together).
struct TileScratch {
  bf16* queries;             // [strips, kParts, padded head_dim / 2, kColumns, 2]
  std::uint32_t* odd;        // [strips] a bit for each query with a number that isn't finite
  float* out;                // [strips, padded value_dim, kColumns]
  float *base, *sum, *most;  // [strips, kColumns]
  float* probe_sums;         // [strips, 3 + segments, kColumns], where they are asked for
  float* probe_rows;         // [strips, kColumns, probe_floats(p)], see ColumnProbes
  bf16* keys;                // [key_tiles, 64, kParts, padded head_dim]
  bf16* values;              // [key_tiles, kParts, padded value_dim, 64]
  float* wide;               // [2, the longer padded dim] rows as f32
  bf16* rows;                // [kColumns, kParts, the longer padded dim] before the turn
  bf16* value_pairs;         // [32, kParts, padded value_dim, 2] pairs of keys before the turn
  float* scores;             // [64, kColumns]
  bf16* weights;             // [kParts, 32, kColumns, 2]
  float* sums;               // [padded value_dim, kColumns] of parts: what a tile adds to out
  float* result;             // [padded value_dim]
};
struct TileSizes {
  int parts, dims, value_dims, strips, key_tiles;  // dims padded; of a piece, of a block
  int probe_sums, probe_rows;                      // of a query
  TileSizes(int parts, const Problem& p, const Plan& plan)
      : parts(parts),
        dims(round_up(p.head_dim, kDepthUnit)),
        value_dims(round_up(p.value_dim, kValueRows)),
        strips((plan.query_rows + kColumns - 1) / kColumns),
        key_tiles(plan.key_tiles),
        probe_sums(p.probes ? 3 + p.probes->segments : 0),
        probe_rows(probe_floats(p)) {}
};
inline std::size_t lay_out(const TileSizes& n, std::byte* memory, TileScratch* s) {
  const std::int64_t d = n.dims, v = n.value_dims, longer = d > v ? d : v, strips = n.strips, parts = n.parts,
                     columns = strips * kColumns, keys = std::int64_t{n.key_tiles} * kTileKeys;
  Carver carve(memory);
  carve(s->queries, columns * parts * d), carve(s->odd, strips), carve(s->out, columns * v);
  carve(s->base, columns), carve(s->sum, columns), carve(s->most, columns);
  carve(s->probe_sums, columns * n.probe_sums), carve(s->probe_rows, columns * n.probe_rows);
  carve(s->keys, keys * parts * d), carve(s->values, keys * parts * v);
  carve(s->wide, 2 * longer), carve(s->rows, kColumns * parts * longer), carve(s->value_pairs, kTileKeys * parts * v);
  carve(s->scores, kTileKeys * kColumns), carve(s->weights, parts * kTileKeys * kColumns);
  carve(s->sums, parts > 1 ? v * kColumns : 0), carve(s->result, v);
  return carve.used();
}

/// to [kParts, padded] = the row of x that starts at `offset`, rounded (bf16 stays as it is) or in parts; zeros behind
/// its n numbers, and for what isn't finite. True when every number is finite. `wide` [padded] is scratch.
template <int kParts>
inline bool read_row(const Operand& x, std::int64_t offset, int n, float* wide, bf16* to, int padded) {
  bool all = true;
  if constexpr (kParts == 1) {
    copy_row(x, offset, n, to, padded);
    all = all_finite(to, n);
    for (int d = 0; d < n && !all; ++d)
      if (!finite(to[d])) to[d].bits = 0;
  } else {
    widen_row(x, offset, n, wide);
    for (int d = 0; d < n; ++d) all = all & finite(wide[d]);
    for (int d = 0; d < n && !all; ++d)
      if (!finite(wide[d])) wide[d] = 0;
    static_assert(kParts == kPartsOfF32);
    split_row(wide, n, to, padded);
  }
  return all;
}

/// One piece: its strips of queries, and the block of keys at hand.
template <int kParts>
struct TilePiece {
  static constexpr int kWeightPart = kTileKeys * kColumns;

  const Problem& p;
  const Piece& w;
  const TileScratch& s;
  TileSizes n;
  Bf16Unit& unit;
  bool wanted[kMostKeyTiles], values_finite[kMostKeyTiles];
  std::uint64_t odd_keys[kMostKeyTiles];  // a bit for each with a number that isn't finite

  int rows_of(int strip) const { return at_most(kColumns, w.rows - strip * kColumns); }
  bf16* queries(int strip) const { return s.queries + std::ptrdiff_t{strip} * kColumns * kParts * n.dims; }
  bf16* keys(int tile) const { return s.keys + std::ptrdiff_t{tile} * kTileKeys * kParts * n.dims; }
  bf16* values(int tile) const { return s.values + std::ptrdiff_t{tile} * kTileKeys * kParts * n.value_dims; }
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
  void finish(int strip) const;

 private:
  bool look_up(Range keys, int strip, std::uint64_t* bits) const;
  bool pack_values(Range keys, bf16* to) const;
  void score_infinite(Range keys, int tile, int strip) const;
  void add_values(int tile, float* out) const;
  void add_infinite(Range keys, int strip) const;
};

/// Queries in pairs of numbers, and the state of having seen nothing but the sink. Columns beyond the rows see nothing.
template <int kParts>
inline void TilePiece<kParts>::begin(int strip) const {
  const int dims = kParts * n.dims;
  const ColumnProbes probes = this->probes(strip);
  const StripState state = this->state(strip, probes);
  for (int i = rows_of(strip) * dims; i < kColumns * dims; ++i) s.rows[i].bits = 0;
  for (int i = 0; i < n.value_dims * kColumns; ++i) state.out[i] = 0;
  s.odd[strip] = 0;
  for (int c = 0; c < kColumns; ++c) {
    state.base[c] = state.most[c] = minus_infinity(), state.sum[c] = 0;
    if (p.probes) probes.begin(c, 0);
  }
  for_segments(p, w, strip * kColumns, rows_of(strip), [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const int c = g.row + i - strip * kColumns;
      if (!read_row<kParts>(p.q, p.q_offset(w.batch, g.head, g.query + i), p.head_dim, s.wide, s.rows + c * dims,
                            n.dims))
        s.odd[strip] |= std::uint32_t{1} << c;
      if (p.probes) probes.begin(c, g.query + i);
      if (!p.sinks || p.sinks[g.head] == minus_infinity()) continue;
      state.base[c] = in_octaves(p.sinks[g.head]), state.sum[c] = 1;
    }
  });
  turn_pairs(s.rows, dims / 2, queries(strip));
}

/// to [kParts, padded value_dim, 64]: values turned, a row a channel. Pairs of keys are made first, and turned as
/// floats are.
template <int kParts>
inline bool TilePiece<kParts>::pack_values(Range keys, bf16* to) const {
  const int count = keys.end - keys.begin, dims = kParts * n.value_dims;
  std::int64_t at[kTileKeys];
  find_rows(p, w, p.v, keys.begin, count, at);
  bool all = true;
  bf16* pair[2] = {s.rows, s.rows + dims};
  for (int j = 0; j < kTileKeys; j += 2) {
    for (int i = 0; i < 2; ++i) {
      const bool there = j + i < count;
      const bool finite =
          read_row<kParts>(p.v, there ? at[j + i] : 0, there ? p.value_dim : 0, s.wide, pair[i], n.value_dims);
      all = finite && all;
    }
    pair_rows(pair[0], pair[1], dims, s.value_pairs + j * dims);
  }
  turn_pairs(s.value_pairs, dims, to);
  return all;
}

template <int kParts>
inline void TilePiece<kParts>::pack(Range keys, int tile) {
  const int count = keys.end - keys.begin, dims = kParts * n.dims;
  bf16* to = this->keys(tile);
  std::int64_t at[kTileKeys];
  find_rows(p, w, p.k, keys.begin, count, at);
  odd_keys[tile] = 0;
  for (int j = 0; j < kTileKeys; ++j) {
    const bool there = j < count;
    if (!read_row<kParts>(p.k, there ? at[j] : 0, there ? p.head_dim : 0, s.wide, to + j * dims, n.dims))
      odd_keys[tile] |= std::uint64_t{1} << j;
  }
  values_finite[tile] = pack_values(keys, values(tile));
}

/// bits [64] of a strip: 0 in columns that are no rows.
template <int kParts>
inline bool TilePiece<kParts>::look_up(Range keys, int strip, std::uint64_t* bits) const {
  for (int c = 0; c < 64; ++c) bits[c] = 0;
  return look_up_mask(p, w, strip * kColumns, rows_of(strip), keys, bits) != Cover::Empty;
}

/// Folds one tile of keys into a strip of queries.
template <int kParts>
inline void TilePiece<kParts>::fold(Range keys, int tile, int strip) const {
  std::uint64_t bits[64];
  if (!look_up(keys, strip, bits)) return;  // empty tiles are never computed
  tile_product<kParts, false>(unit, kTileKeys, n.dims, {this->keys(tile), std::ptrdiff_t{kParts} * n.dims, n.dims},
                              {queries(strip), std::ptrdiff_t{n.dims} * kColumns}, s.scores);
  if (odd_keys[tile] != 0 || s.odd[strip] != 0) score_infinite(keys, tile, strip);
  float factor = product_unit(p);
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
  transposed_softmax<kParts>(state, factor, all ? nullptr : bits, keys.begin, s.scores, s.weights);
  add_values(tile, state.out);
  if (!values_finite[tile]) add_infinite(keys, strip);
}

/// out [padded value_dim, kColumns] += Vᵀ·Pᵀ. Of parts the six products of a tile are added up before they meet out: it
/// is rounded once, as where f32 numbers are multiplied.
template <int kParts>
inline void TilePiece<kParts>::add_values(int tile, float* out) const {
  const LeftOperand v{values(tile), kTileKeys, std::ptrdiff_t{n.value_dims} * kTileKeys};
  const RightOperand weights{s.weights, kWeightPart};
  if constexpr (kParts == 1) return tile_product<1, true>(unit, n.value_dims, kTileKeys, v, weights, out);
  tile_product<kParts, false>(unit, n.value_dims, kTileKeys, v, weights, s.sums);
  for (int i = 0; i < n.value_dims * kColumns; i += kLanes) store(out + i, load(out + i) + load(s.sums + i));
}

/// Scores of queries and keys with numbers that aren't finite, one after another in f32.
template <int kParts>
inline void TilePiece<kParts>::score_infinite(Range keys, int tile, int strip) const {
  float *query = s.wide, *key = s.wide + n.dims;
  std::int64_t at[kTileKeys];
  find_rows(p, w, p.k, keys.begin, keys.end - keys.begin, at);
  for_segments(p, w, strip * kColumns, rows_of(strip), [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const int c = g.row + i - strip * kColumns;
      widen_row(p.q, p.q_offset(w.batch, g.head, g.query + i), p.head_dim, query);
      for (int j = 0; j < keys.end - keys.begin; ++j) {
        if (!(s.odd[strip] >> c & 1) && !(odd_keys[tile] >> j & 1)) continue;
        widen_row(p.k, at[j], p.head_dim, key);
        float sum = 0;
        for (int d = 0; d < p.head_dim; ++d) sum += query[d] * key[d];
        s.scores[j * kColumns + c] = sum;
      }
    }
  });
}

/// O += P·V for the numbers of V that are not finite, to the queries that see them.
template <int kParts>
inline void TilePiece<kParts>::add_infinite(Range keys, int strip) const {
  float* out = s.out + std::ptrdiff_t{strip} * kColumns * n.value_dims;  // [value_dims, kColumns]
  std::int64_t at[kTileKeys];
  find_rows(p, w, p.v, keys.begin, keys.end - keys.begin, at);
  for (int j = 0; j < keys.end - keys.begin; ++j) {
    widen_row(p.v, at[j], p.value_dim, s.wide);
    for (int d = 0; d < p.value_dim; ++d) {
      if (finite(s.wide[d])) continue;
      for (int c = 0; c < rows_of(strip); ++c) {
        if (s.scores[j * kColumns + c] == minus_infinity()) continue;  // hidden
        float weight = 0;
        for (int k = kParts; k-- > 0;) weight += float(s.weights[k * kWeightPart + (j / 2 * kColumns + c) * 2 + j % 2]);
        out[d * kColumns + c] += weight * s.wide[d];
      }
    }
  }
}

/// O/l rounded once, LSE, and what was gathered.
template <int kParts>
inline void TilePiece<kParts>::finish(int strip) const {
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

template <int kParts>
inline Plan plan_tiles(const Problem& p) noexcept {
  Plan plan = kBase.plan(p);
  TileScratch unused;
  const std::size_t own = lay_out(TileSizes(kParts, p, plan), nullptr, &unused);
  if (own > plan.scratch_bytes) plan.scratch_bytes = own;
  return plan;
}

template <int kParts>
inline void forward_tiles(const Problem& p, const Plan& plan, std::int64_t item, std::byte* memory) noexcept {
  const FlushDenormals guard;
  const auto [w, split, partials] = item_of(p, plan, item);
  if (few_rows(p, w.batch)) return kBase.forward(p, plan, item, memory);
  TileScratch s;
  Bf16Unit unit;
  const TileSizes sizes(kParts, p, plan);
  lay_out(sizes, memory, &s);
  TilePiece<kParts> piece{p, w, s, sizes, unit, {}, {}, {}};
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

inline Plan plan_bf16(const Problem& p) noexcept { return plan_tiles<1>(p); }
inline void forward_bf16(const Problem& p, const Plan& plan, std::int64_t item, std::byte* memory) noexcept {
  forward_tiles<1>(p, plan, item, memory);
}

inline constexpr auto plan_split = plan_tiles<kPartsOfF32>;
inline constexpr auto forward_split = forward_tiles<kPartsOfF32>;

inline GradientPlan plan_backward_bf16(const Problem& p) noexcept {
  GradientPlan plan = plan_gradients(p, kColumns);
  TileGradientScratch unused;
  const std::size_t own = lay_out(plan, nullptr, &unused);
  if (own > plan.scratch_bytes) plan.scratch_bytes = own;
  return plan;
}

inline void backward_bf16(const Problem& p, const GradientProblem& g, const GradientPlan& plan, std::int64_t item,
                          std::byte* memory) noexcept {
  const FlushDenormals guard;
  if (g.dout.dtype != DType::BF16) return kBase.backward(p, g, plan, item, memory);
  backward_item<TileGradientPiece>(p, g, plan, item, memory);
}

}  // namespace fovea::FOVEA_ISA
