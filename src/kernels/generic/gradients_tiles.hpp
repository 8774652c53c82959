// The backward pass of gradients.hpp on tiles of bf16 numbers, transposed as flash_tiles.hpp is: keys down, queries in
// the lanes. For bf16 q, k, v and dout; P and dS are rounded to bf16 before they meet dout, queries and keys.
//
//   a strip of 32 queries   Sᵀ = K·Qᵀ, dPᵀ = V·doutᵀ   [64, 32]    A: keys, values as they come; B: pairs of channels
//                           Pᵀ = e^(Sᵀ − lse), dSᵀ = Pᵀ ∘ (dPᵀ − delta) ∘ functor'   lse and delta are vectors
//                           dQᵀ += Kᵀ·dSᵀ              [dims, 32]  A: keys turned; B: dSᵀ in pairs of keys
//   a group of strips       dV += Pᵀ·dout, dK += dSᵀ·Q [64, dims]  A: Pᵀ, dSᵀ in rows; B: pairs of queries
//
// A tile of C that is added to takes 8 slots to load and 16 to store. Over the 32 queries of a strip that would be for
// one product of 16 cycles; over the 128 of a group it is for four. Sᵀ and dPᵀ are stored alone, after dims / 32
// products each; dQᵀ comes and goes for the two of 64 keys. With head_dim 64 a strip's work (three left operands, two
// right ones, Sᵀ, dPᵀ, dSᵀ, dQᵀ) is 60 KB, that of a group's sums 96 KB: half of it in L1, all in L2, which feeds tiles
// at two thirds of L1's pace. P and dS cost 17 operations a vector, 1,100 cycles of two ports for a strip, beside 80
// products of 16.
#pragma once
#include "kernels/generic/gradient_rows.hpp"
#include "kernels/generic/pack_tiles.hpp"
#include "kernels/generic/transposed_softmax.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kGroup = 4 * kColumns;  // queries that meet a tile's sums together

/// Scratch of one item; rows are those of a piece, filled up to whole strips, dims to multiples of kColumns.
struct TileGradientScratch {
  bf16 *queries, *dout;                  // [rows, dims] as they come
  bf16 *query_channels, *dout_channels;  // [strips, dims / 2, kColumns, 2]
  bf16 *query_pairs, *dout_pairs;        // [dims / kColumns, rows / 2, kColumns, 2], pairs as pair_strip() has them
  float* dq;                             // [strips, dims, kColumns], before the scale
  float* shift;                          // [rows] of LSE, as RoundedRows::shift has it
  float* delta;                          // [rows]
  float* rows;                           // [the longer dims] of one row
  bf16 *keys, *values;                   // [key_tiles, 64, dims]
  bf16* turned_keys;                     // [key_tiles, dims, 64]
  bf16* key_pairs;                       // [32, dims, 2] before the turn
  float* weights;                        // [64, kColumns] Sᵀ, then Pᵀ
  float* dscore;                         // [64, kColumns] dPᵀ, then dSᵀ
  bf16 *weight_rows, *dscore_rows;       // [64, kGroup] Pᵀ and dSᵀ of a group, rounded
  bf16* dscore_pairs;                    // [32, kColumns, 2] dSᵀ in pairs of keys
  float *slopes, *logits, *shares;       // [64, kColumns] as GradientScratch has them
  float* sums;                           // likewise
};
inline std::size_t lay_out(const GradientPlan& plan, std::byte* base, TileGradientScratch* s) {
  const std::int64_t r = round_up(plan.piece_rows, kColumns), d = plan.padded_head_dim, v = plan.padded_value_dim,
                     tiles = plan.key_tiles, strip = kTileKeys * kColumns;
  Carver carve(base);
  carve(s->queries, r * d), carve(s->query_channels, r * d), carve(s->query_pairs, r * d);
  carve(s->dout, r * v), carve(s->dout_channels, r * v), carve(s->dout_pairs, r * v);
  carve(s->dq, r * d), carve(s->shift, r), carve(s->delta, r), carve(s->rows, d > v ? d : v);
  carve(s->keys, tiles * kTileKeys * d), carve(s->values, tiles * kTileKeys * v);
  carve(s->turned_keys, tiles * kTileKeys * d), carve(s->key_pairs, kTileKeys * d);
  carve(s->weights, strip), carve(s->dscore, strip), carve(s->dscore_pairs, strip);
  carve(s->weight_rows, kTileKeys * kGroup), carve(s->dscore_rows, kTileKeys * kGroup);
  carve(s->slopes, strip), carve(s->logits, strip), carve(s->shares, strip);
  carve(s->sums, std::int64_t{plan.sum_rows} * (d + v));
  return carve.used();
}

struct TileGradients : RoundedRows {
  using Scratch = TileGradientScratch;
  static constexpr int kRows = kColumns, kFill = kColumns;

  /// Rows that were read become right operands.
  static void finish_rows(const Scratch& s, int rows, int d, int v) {
    for (int r = 0; r < rows; r += kColumns) {
      turn_pairs(s.queries + r * d, d / 2, s.query_channels + r * d);
      turn_pairs(s.dout + r * v, v / 2, s.dout_channels + r * v);
      pair_strip(s.queries + r * d, d, s.query_pairs + r * kColumns, rows * kColumns);
      pair_strip(s.dout + r * v, v, s.dout_pairs + r * kColumns, rows * kColumns);
    }
  }
  static const float* dq_row(const Scratch& s, int row, int dims) {
    const float* dq = column_of_dq(s, row, dims);
    for (int d = 0; d < dims; ++d) s.rows[d] = dq[d * kColumns];
    return s.rows;
  }
  static void add_to_dq(const Scratch& s, int row, int dims, float factor, const float* key) {
    float* dq = column_of_dq(s, row, dims);
    for (int d = 0; d < dims; ++d) dq[d * kColumns] += factor * key[d];
  }

 private:
  static float* column_of_dq(const Scratch& s, int row, int dims) {
    return s.dq + std::ptrdiff_t{row / kColumns * kColumns} * dims + row % kColumns;
  }
};

/// Groups of rows against tiles of keys.
struct TileGradientPiece : GradientRows<TileGradients> {
  static constexpr int kRows = kGroup;
  Bf16Unit unit{};

  void fold(int tile, Range keys, int row, int rows);

 private:
  struct Slope {
    Vec weight, dscore;
  };
  bf16* keys_of(int tile) const { return s.keys + std::ptrdiff_t{tile} * kTileKeys * plan.padded_head_dim; }
  bf16* turned_of(int tile) const { return s.turned_keys + std::ptrdiff_t{tile} * kTileKeys * plan.padded_head_dim; }
  bf16* values_of(int tile) const { return s.values + std::ptrdiff_t{tile} * kTileKeys * plan.padded_value_dim; }
  void pack(int tile, Range keys);
  bool fold_strip(int tile, Range keys, int row, int rows, int column);
  template <class F>
  void leave_operands(int column, F slope) const;
  template <bool Masked>
  void whole_strip(int row, int column, const std::uint64_t* seen) const;
  void weights_and_slopes(Range keys, int row, int rows, std::uint64_t* seen) const;
  void score_gradients(Range keys, int row, int rows, const std::uint64_t* seen) const;
  void add_sums(Range keys, int row, Range columns);
  void add_panels(const bf16* a, const bf16* b, int panels, std::ptrdiff_t panel, int depth, int keys, float* c);
};

/// Packs one tile of keys in the three ways that products read it; zeros beyond them.
inline void TileGradientPiece::pack(int tile, Range keys) {
  const int n = keys.end - keys.begin, d = plan.padded_head_dim, v = plan.padded_value_dim;
  bf16 *k = keys_of(tile), *values = values_of(tile);
  std::int64_t at[kTileKeys], value_at[kTileKeys];
  find_rows(p, w, p.k, keys.begin, n, at), find_rows(p, w, p.v, keys.begin, n, value_at);
  for (int j = 0; j < kTileKeys; ++j) {
    if (j % kLanes == 0) {
      ask_for_keys(p, w, p.k, keys.begin + j + kLanes, keys.end, p.head_dim);
      ask_for_keys(p, w, p.v, keys.begin + j + kLanes, keys.end, p.value_dim);
    }
    copy_row(p.k, j < n ? at[j] : 0, j < n ? p.head_dim : 0, k + j * d, d);
    copy_row(p.v, j < n ? value_at[j] : 0, j < n ? p.value_dim : 0, values + j * v, v);
  }
  for (int j = 0; j < kTileKeys; j += 2) pair_rows(k + j * d, k + (j + 1) * d, d, s.key_pairs + j * d);
  turn_pairs(s.key_pairs, d, turned_of(tile));
  packed[tile] = true, keys_finite[tile] = all_finite(k, kTileKeys * d) && all_finite(values, kTileKeys * v);
}

/// A NaN of anyone's, which might carry over into a number where store_pairs() rounds it, becomes the plain one.
inline Vec plain_nan(Vec x) { return Vec(x.v == x.v ? x.v : Vec(__builtin_nanf("")).v); }

/// Pᵀ and dSᵀ, which slope(place in [64, kColumns], its column) has, as the three operands that they are; in rows those
/// of the group's columns from `column` on.
template <class F>
inline void TileGradientPiece::leave_operands(int column, F slope) const {
  bf16 *weight_rows = s.weight_rows + column, *dscore_rows = s.dscore_rows + column, *pairs = s.dscore_pairs;
  for (int c = 0; c < kColumns; c += 2 * kLanes)
    for (int j = 0; j < kTileKeys; j += 2) {
      Slope x[2][2];  // [keys, vectors]
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
#pragma GCC unroll 2
        for (int k = 0; k < 2; ++k) x[i][k] = slope((j + i) * kColumns + c + k * kLanes, c + k * kLanes);
        store_pairs<1>(weight_rows + (j + i) * kGroup + c, 0, x[i][0].weight, x[i][1].weight);
        store_pairs<1>(dscore_rows + (j + i) * kGroup + c, 0, x[i][0].dscore, x[i][1].dscore);
      }
#pragma GCC unroll 2
      for (int k = 0; k < 2; ++k)
        store_pairs<1>(pairs + j * kColumns + 2 * (c + k * kLanes), 0, x[0][k].dscore, x[1][k].dscore);
    }
}

/// Where there is no functor, all in one go from the two products.
template <bool Masked>
inline void TileGradientPiece::whole_strip(int row, int column, const std::uint64_t* seen) const {
  const float *scores = s.weights, *dscore = s.dscore, *shift = s.shift + row, *delta = s.delta + row;
  const float factor = TileGradients::factor(p);
  leave_operands(column, [=](int at, int c) -> Slope {
    Vec weight = TileGradients::weight(load(scores + at), factor, load(shift + c));
    Vec ds = weight * (load(dscore + at) - load(delta + c));
    if constexpr (Masked) {
      const Lanes sees = lanes_of(seen[at / kColumns] >> c);
      weight = select(sees, weight, 0.0f), ds = select(sees, ds, 0.0f);
    }
    return {weight, ds};
  });
}

/// weights = Pᵀ, slopes = the functor's; `seen` loses what a score of −∞ hides.
inline void TileGradientPiece::weights_and_slopes(Range keys, int row, int rows, std::uint64_t* seen) const {
  const float factor = TileGradients::factor(p);
  for (int i = 0; i < kTileKeys * kColumns; i += kLanes) {
    store(s.weights + i, load(s.weights + i) * factor);
    store(s.logits + i, load(s.weights + i)), store(s.slopes + i, 1.0f);
  }
  if (p.score.self) {
    for_segments(p, w, row, rows, [&](const Segment& seg) {
      const int first = seg.row - row;
      p.score.differentiate(p.score.self, {s.weights + first, 1, kColumns, tile_of(w, seg, keys)}, s.slopes + first);
    });
    for (int i = 0; i < kTileKeys * kColumns; ++i)
      if (s.weights[i] == minus_infinity()) seen[i / kColumns] &= ~(std::uint64_t{1} << i % kColumns);
  }
  for (int j = 0; j < kTileKeys; ++j)
    for (int c = 0; c < kColumns; c += kLanes) {
      float* x = s.weights + j * kColumns + c;
      const Vec weight = TileGradients::weight(load(x), 1, load(s.shift + row + c));
      store(x, select(lanes_of(seen[j] >> c), weight, 0.0f));
    }
}

/// dscore: dPᵀ becomes dSᵀ; what the numbers inside the functor receive is dSᵀ before its slope, times theirs.
inline void TileGradientPiece::score_gradients(Range keys, int row, int rows, const std::uint64_t* seen) const {
  for (int j = 0; j < kTileKeys; ++j)
    for (int c = 0; c < kColumns; c += kLanes) {
      const int at = j * kColumns + c;
      const Lanes sees = lanes_of(seen[j] >> c);
      const Vec ds = load(s.weights + at) * (load(s.dscore + at) - load(s.delta + row + c));
      store(s.shares + at, select(sees, ds, 0.0f));
      store(s.dscore + at, select(sees, ds * load(s.slopes + at), 0.0f));
    }
  if (!g.parameters) return;
  for_segments(p, w, row, rows, [&](const Segment& seg) {
    const int first = seg.row - row;
    p.score.collect(p.score.self, {s.logits + first, 1, kColumns, tile_of(w, seg, keys)}, s.shares + first,
                    g.parameters);
  });
}

/// One strip meets one tile of keys: dQᵀ, and columns of the group's operands. False where those are not to be met:
/// nothing is seen, or what is not finite has been added around the mask.
inline bool TileGradientPiece::fold_strip(int tile, Range keys, int row, int rows, int column) {
  std::uint64_t seen[64] = {};  // a word a row; turned, a word a key
  const Cover cover = look_up_mask(p, w, row, rows, keys, seen);
  if (cover == Cover::Empty) return false;
  if (!packed[tile]) pack(tile, keys);
  const bool finite = keys_finite[tile] && strip_finite[row / kColumns];
  const int d = plan.padded_head_dim, v = plan.padded_value_dim;
  const std::ptrdiff_t query = std::ptrdiff_t{row} * d, out = std::ptrdiff_t{row} * v;
  bf16_product<false>(unit, kTileKeys, d, keys_of(tile), d, s.query_channels + query, s.weights);
  bf16_product<false>(unit, kTileKeys, v, values_of(tile), v, s.dout_channels + out, s.dscore);
  const bool whole = finite && !p.score.self;
  if (!whole || cover != Cover::Full) transpose_bits(seen);
  if (whole) {
    if (cover == Cover::Full)
      whole_strip<false>(row, column, seen);
    else
      whole_strip<true>(row, column, seen);
  } else {
    weights_and_slopes(keys, row, rows, seen);
    score_gradients(keys, row, rows, seen);
    if (!finite) {
      add_around_mask(keys, row, rows, [&](int i, int j) -> Meeting {
        return {(seen[j] >> i & 1) != 0, s.weights[j * kColumns + i], s.dscore[j * kColumns + i]};
      });
      return false;
    }
    leave_operands(column, [&](int at, int) -> Slope {
      return {plain_nan(load(s.weights + at)), plain_nan(load(s.dscore + at))};
    });
  }
  bf16_product<true>(unit, d, kTileKeys, turned_of(tile), kTileKeys, s.dscore_pairs, s.dq + query);
  return true;
}

/// C [keys, row_floats], its first `panels` · kColumns, += A [64, depth] · B, panels [depth / 2, kColumns, 2], `panel`
/// numbers apart. Fewer keys than a tile's are added by themselves: the rows behind belong to others.
inline void TileGradientPiece::add_panels(const bf16* a, const bf16* b, int panels, std::ptrdiff_t panel, int depth,
                                          int keys, float* c) {
  for (int i = 0; i < panels; ++i, b += panel, c += kColumns) {
    if (keys == kTileKeys) {
      tile_product<1, true>(unit, kTileKeys, depth, {a, kGroup}, {b}, c, row_floats);
      continue;
    }
    bf16_product<false>(unit, round_up(keys, kRowUnit), depth, a, kGroup, b, s.weights);
    for (int j = 0; j < keys; ++j) add_row(1, s.weights + j * kColumns, kColumns, c + j * row_floats);
  }
}

/// dV and dK of a tile gain what strips of a group that lie in `columns` have left.
inline void TileGradientPiece::add_sums(Range keys, int row, Range columns) {
  const int n = keys.end - keys.begin, depth = columns.end - columns.begin;
  if (depth == 0) return;
  const std::ptrdiff_t panel = std::ptrdiff_t{round_up(w.rows, kColumns)} * kColumns,
                       first = std::ptrdiff_t{row + columns.begin} * kColumns;
  float* dk = sums + keys.begin * row_floats;
  add_panels(s.weight_rows + columns.begin, s.dout_pairs + first, plan.padded_value_dim / kColumns, panel, depth, n,
             dk + plan.padded_head_dim);
  add_panels(s.dscore_rows + columns.begin, s.query_pairs + first, plan.padded_head_dim / kColumns, panel, depth, n,
             dk);
}

/// One group meets one tile of keys. Strips that leave nothing part those that do into runs.
inline void TileGradientPiece::fold(int tile, Range keys, int row, int rows) {
  int begin = 0, column = 0;
  for (; column < rows; column += kColumns) {
    if (fold_strip(tile, keys, row + column, at_most(kColumns, rows - column), column)) continue;
    add_sums(keys, row, {begin, column});
    begin = column + kColumns;
  }
  if (begin < column) add_sums(keys, row, {begin, column});
}

}  // namespace fovea::FOVEA_ISA
