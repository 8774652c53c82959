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
#include "kernels/generic/gradient_rows.hpp"
#include "kernels/generic/softmax.hpp"

namespace fovea::FOVEA_ISA {

/// Strips of rows upright: S and what becomes of it lie [rows, 64].
template <class O>
struct GradientPiece : GradientRows<O> {
  using Rows = GradientRows<O>;
  using Number = typename O::Number;
  using Rows::p, Rows::g, Rows::plan, Rows::s, Rows::w, Rows::sums, Rows::row_floats;
  using Rows::packed, Rows::keys_finite, Rows::strip_finite;
  static constexpr int kRows = O::kRows, kNumbers = Step<Number>::kNumbers;

  void fold(int tile, Range keys, int row, int rows);

 private:
  const Number* keys_of(int tile) const {
    return s.keys + std::ptrdiff_t{tile} * kTileKeys * round_up(p.head_dim, O::kDims);
  }
  const Number* values_of(int tile) const {
    return s.values + std::ptrdiff_t{tile} * kTileKeys * round_up(p.value_dim, O::kDims);
  }
  void pack(int tile, int key);
  void weights_and_slopes(int tile, Range keys, int columns, int row, int rows, std::uint64_t* bits) const;
  template <bool Masked>
  void whole_tile(int tile, int row, int rows, const std::uint64_t* bits) const;
  void parameter_gradients(Range keys, int columns, int row, int rows, const std::uint64_t* bits) const;
  void score_gradients(int columns, int row, int rows, const std::uint64_t* bits) const;
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
  const float* shift;         // [kStrip] (not by way of Scratch: that is read again after every store)
  float* weights;             // [kStrip, 64] scores, that become weights in place
  typename O::Number* pairs;  // likewise, as products read them
  const std::uint64_t* bits;
  float factor;
  int first;  // of the strip, the tile's

  [[gnu::always_inline]] void operator()(int i, int part) const {
    const int at = first + 2 * i, j = part * kLanes;
    Vec weight[2];
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const int place = (at + k) * kTileKeys + j;
      weight[k] = O::weight(load(weights + place), factor, shift[at + k]);
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
  WeighRows<O, Masked> weigh{s.shift + row, s.weights, s.weight_pairs, bits, O::factor(p), 0};
  product<false>(round_up(rows, kTileRows), kTileKeys, round_up(p.head_dim, kNumbers),
                 s.queries + std::ptrdiff_t{row} * d, d, keys_of(tile), kTileKeys, s.weights, kTileKeys);
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
    finite = O::pack_pairs(p.k, k, n, p.head_dim, plan.padded_head_dim, s, pairs, j) && finite;
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
  const bool finite = keys_finite[tile] && strip_finite[row / kRows];
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
    if (!finite)
      return this->add_around_mask(keys, row, rows, [&](int i, int j) -> typename Rows::Meeting {
        return {(bits[i] >> j & 1) != 0, s.weights[i * kTileKeys + j], s.dscore[i * kTileKeys + j]};
      });
    O::finish_strip(s, rows);
  }
  const int depth = round_up(rows, kNumbers);
  product<true, Left::Turned>(n, v, depth, s.weight_pairs, kTileKeys, s.dout_pairs + out, v, dkv + d, row_floats);
  product<true, Left::Turned>(n, d, depth, s.dscore_pairs, kTileKeys, s.query_pairs + query, d, dkv, row_floats);
  product<true>(rows, d, round_up(n, kNumbers), s.dscores, kTileKeys,
                s.key_pairs + std::ptrdiff_t{tile} * kTileKeys * d, d, s.dq + query, d);
}

inline GradientPlan plan_backward(const Problem& p) noexcept { return plan_gradients(p, kLanes); }

inline void backward(const Problem& p, const GradientProblem& g, const GradientPlan& plan, std::int64_t item,
                     std::byte* memory) noexcept {
  const FlushDenormals guard;
  backward_item<GradientPiece<F32Gradients>>(p, g, plan, item, memory);
}

}  // namespace fovea::FOVEA_ISA
