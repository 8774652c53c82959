// A backward pass on pairs of bf16, for bf16 q, k, v and dout. P and dS are rounded to bf16 before they meet dout,
// queries and keys; scores, dP, the weights that dS is made of, and all sums are f32.
#pragma once
#include "kernels/generic/gradient_operands.hpp"
#include "kernels/generic/operands_bf16.hpp"

namespace fovea::FOVEA_ISA {

struct Bf16Gradients : UprightRows, RoundedRows {
  using Scratch = GradientScratch<bf16>;
  static constexpr int kDims = 2 * kLanes;

  static void finish_rows(const Scratch& s, int rows, int d, int v) {
    for (int r = 0; r < rows; r += 2) {
      pair_rows(s.queries + r * d, s.queries + (r + 1) * d, d, s.query_pairs + r * d);
      pair_rows(s.dout + r * v, s.dout + (r + 1) * v, v, s.dout_pairs + r * v);
    }
  }

  static void pack_turned(const Operand& x, const std::int64_t* at, int n, int dims, const Scratch& s, bf16* to,
                          int first) {
    FOVEA_ISA::pack_turned(x, at, n, dims, s.rows, to, first);
  }
  static bool pack_pairs(const Operand& x, const std::int64_t* at, int n, int dims, int, const Scratch& s, bf16* to,
                         int first) {
    return FOVEA_ISA::pack_pairs(x, at, n, dims, s.rows, to, first);
  }

  [[gnu::always_inline]] static void put_weights(bf16* pairs, int i, int j, Vec even, Vec odd) {
    store_rounded_pairs(pairs + i * kTileKeys + 2 * j, even, odd);
  }
  [[gnu::always_inline]] static void put_dscores(const Scratch& s, int i, int j, Vec even, Vec odd) {
    const int at = i * kTileKeys + j;
    store_rounded(s.dscores + at, even), store_rounded(s.dscores + at + kTileKeys, odd);
    store_rounded_pairs(s.dscore_pairs + at + j, even, odd);
  }
  template <int Vecs>
  [[gnu::always_inline]] static void put_dscores(const Scratch& s, int i, const Vec (&x)[kTileRows][Vecs]) {
    static_assert(kTileRows % 2 == 0 && Vecs % 2 == 0);
#pragma GCC unroll 8
    for (int k = 0; k < kTileRows; k += 2)
#pragma GCC unroll 8
      for (int j = 0; j < Vecs; j += 2) {
        const int at = (i + k) * kTileKeys + j * kLanes;
        bf16 *even = s.dscores + at, *pairs = s.dscore_pairs + at + j * kLanes;
        store_rounded(even, x[k][j], x[k][j + 1]), store_rounded(even + kTileKeys, x[k + 1][j], x[k + 1][j + 1]);
        store_rounded_pairs(pairs, x[k][j], x[k + 1][j]);
        store_rounded_pairs(pairs + 2 * kLanes, x[k][j + 1], x[k + 1][j + 1]);
      }
  }
  static void finish_strip(const Scratch& s, int rows) {
    const auto row_of = [&](const float* x, int i, int j) { return i < rows ? load(x + i * kTileKeys + j) : 0.0f; };
    for (int i = 0; i < rows; i += 2)
      for (int j = 0; j < kTileKeys; j += kLanes) {
        put_weights(s.weight_pairs, i, j, row_of(s.weights, i, j), row_of(s.weights, i + 1, j));
        put_dscores(s, i, j, row_of(s.dscore, i, j), row_of(s.dscore, i + 1, j));
      }
  }
};

}  // namespace fovea::FOVEA_ISA
