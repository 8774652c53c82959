// What the five products of a backward pass are made of: here f32 numbers, in gradient_operands_bf16.hpp pairs of bf16.
// The pass (gradients.hpp) is written once on what such a struct says, as flash.hpp is on operands.hpp.
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/operands.hpp"

namespace fovea::FOVEA_ISA {

/// Scratch of one item. T is the number that products are made of. Where rows or keys are summed over, a product reads
/// pairs of them, [rows / 2, dims, 2]; in f32 those are the rows as they are, and the same memory.
template <class T>
struct GradientScratch {
  T *queries, *query_pairs;  // [rows, padded head_dim], of f32 scaled
  T *dout, *dout_pairs;      // [rows, padded value_dim]
  float* dq;                 // [rows, padded head_dim], before the scale
  float* shift;              // [rows] of LSE, or of +∞ for a row that sees nothing, so that its weights are 0
  float* delta;              // [rows]
  float* rows;               // [kLanes, the longer padded dim] before a transpose
  T* keys;                   // of key_tiles tiles, as an operand of S: [padded head_dim, 64]
  T* values;                 // of dP: [padded value_dim, 64]
  T* key_pairs;              // of dQ: [64, padded head_dim]
  float* weights;            // [kStrip, 64] scores, then P
  float* dscore;             // [kStrip, 64] dP, then dS
  T* weight_pairs;           // [kStrip, 64] P and dS as products read them
  T *dscores, *dscore_pairs;
  float* slopes;  // [kStrip, 64] of the functor
  float* logits;  // [kStrip, 64] before the functor, where its own numbers have gradients
  float* shares;  // [kStrip, 64] dS before the slope, likewise
  float* sums;    // [sum_rows, padded head_dim + padded value_dim] towards dk and dv
};
template <class T>
inline std::size_t lay_out(const GradientPlan& plan, std::byte* base, GradientScratch<T>* s) {
  const std::int64_t r = plan.piece_rows, d = plan.padded_head_dim, v = plan.padded_value_dim,
                     strip = kStrip * kTileKeys, tile = plan.key_tiles * kTileKeys, unit = kLanes * Step<T>::kNumbers;
  Carver carve(base);
  carve(s->queries, r * d), carve(s->dout, r * v);
  carve(s->dq, r * d), carve(s->shift, r), carve(s->delta, r), carve(s->rows, kLanes * (d > v ? d : v));
  carve(s->keys, tile * ((d + unit - 1) / unit * unit)), carve(s->values, tile * ((v + unit - 1) / unit * unit));
  carve(s->key_pairs, tile * d), carve(s->weights, strip), carve(s->dscore, strip);
  if constexpr (Step<T>::kNumbers > 1) {
    carve(s->query_pairs, r * d), carve(s->dout_pairs, r * v);
    carve(s->weight_pairs, strip), carve(s->dscores, strip), carve(s->dscore_pairs, strip);
  } else {
    s->query_pairs = s->queries, s->dout_pairs = s->dout;
    s->weight_pairs = s->weights, s->dscores = s->dscore_pairs = s->dscore;
  }
  carve(s->slopes, strip), carve(s->logits, strip), carve(s->shares, strip);
  carve(s->sums, std::int64_t{plan.sum_rows} * (d + v));
  return carve.used();
}

/// to [n] += factor · from.
template <class T>
inline void add_row(float factor, const T* from, int n, float* to) {
  for (int i = 0; i < n; i += kLanes) store(to + i, fma(factor, load(from + i), load(to + i)));
}

/// Strips of rows that upright products are made of, and dQ in rows.
struct UprightRows {
  static constexpr int kRows = kStrip, kFill = kTileRows;  // of a strip; rows are filled up to a multiple of it

  template <class S>
  static const float* dq_row(const S& s, int row, int dims) {
    return s.dq + std::ptrdiff_t{row} * dims;
  }
  /// The row += factor · key [dims].
  template <class S>
  static void add_to_dq(const S& s, int row, int dims, float factor, const float* key) {
    add_row(factor, key, dims, s.dq + std::ptrdiff_t{row} * dims);
  }
};

struct F32Gradients : UprightRows {
  using Number = float;
  using Scratch = GradientScratch<float>;
  static constexpr int kDims = kLanes;  // turned keys and values are filled up to a multiple of it

  /// to [padded] = a row of x [n], zeros behind.
  static void read_row(const Operand& x, std::int64_t offset, int n, float* to, int padded) {
    widen_row(x, offset, n, to);
    for (int d = n; d < padded; ++d) to[d] = 0;
  }
  static void read_query(const Problem& p, std::int64_t offset, float* to, int padded) {
    read_row(p.q, offset, p.head_dim, to, padded);
    for (int d = 0; d < padded; d += kLanes) store(to + d, load(to + d) * static_cast<float>(p.scale));
  }
  /// What a sum of products is multiplied with to be a score, and dK's with in the end.
  static float factor(const Problem&) { return 1; }
  /// Rows that were read become operands.
  static void finish_rows(const Scratch&, int, int, int) {}

  static void pack_turned(const Operand& x, const std::int64_t* at, int n, int dims, const Scratch& s, float* to,
                          int first) {
    FOVEA_ISA::pack_turned(x, at, n, dims, s.rows, to, first);
  }
  /// True when every number is finite.
  static bool pack_pairs(const Operand& x, const std::int64_t* at, int n, int dims, int padded, const Scratch&,
                         float* to, int first) {
    return pack_rows(x, at, n, dims, padded, to, first);
  }

  /// Of LSE what weight() wants of it.
  static float shift(float lse) { return lse; }
  static Vec weight(Vec sum, float, float shift) { return exp2((sum - shift) * in_octaves(1)); }
  /// P of two rows, the first the i-th of a strip, and kLanes keys from j on, which lie in weights, to pairs [kStrip,
  /// 64].
  static void put_weights(float*, int, int, Vec, Vec) {}
  /// dS of kTileRows rows from the i-th on leaves the registers.
  template <int Vecs>
  [[gnu::always_inline]] static void put_dscores(const Scratch& s, int i, const Vec (&x)[kTileRows][Vecs]) {
    store_tile<false>(x, s.dscore + i * kTileKeys, kTileKeys);
  }
  /// P, dS [rows, 64] in memory become operands.
  static void finish_strip(const Scratch&, int) {}
};

/// Of passes on bf16 numbers: queries and dout as they come.
struct RoundedRows {
  using Number = bf16;
  static void read_row(const Operand& x, std::int64_t offset, int n, bf16* to, int padded) {
    copy_row(x, offset, n, to, padded);
  }
  static void read_query(const Problem& p, std::int64_t offset, bf16* to, int padded) {
    copy_row(p.q, offset, p.head_dim, to, padded);
  }
  static float factor(const Problem& p) { return static_cast<float>(p.scale); }

  /// One FMA for the factor, LSE and log2 e: it leaves the rounding of lse·log2 e, less than LSE's own. A NaN becomes
  /// the plain one, which no rounding of a weight carries over into a number.
  static float shift(float lse) { return lse != lse ? __builtin_nanf("") : -in_octaves(lse); }
  static Vec weight(Vec sum, float factor, Vec shift) { return exp2(fma(sum, in_octaves(factor), shift)); }
};

}  // namespace fovea::FOVEA_ISA
