// The matrix product of bf16 numbers by tile registers: C = A·B, or C += A·B, sums in f32.
//
// Four tiles hold 32 × 32 numbers of C; per 32 of depth two tiles of A and two of B are loaded for four products. A
// product takes 16 cycles of the tile unit, a load 8 of the load ports, so from L1 the loads of a step (4 · 8) hide
// behind its products (4 · 16). A lies in rows of bf16 as memory has it: nothing is turned. B in rows of pairs: row r
// holds numbers 2r and 2r + 1 of each column.
#pragma once
#include <cstddef>
#include <cstdint>

#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

using Bf16Unit = Tiles;

inline constexpr int kColumns = 32;    // of B and C
inline constexpr int kDepthUnit = 32;  // depth is a multiple of it
inline constexpr int kRowUnit = 16;    // and rows of this

/// 16 (or with Both 32) rows of C.
template <bool Add, bool Both>
inline void tile_rows(Tiles& t, int depth, const bf16* a, std::ptrdiff_t lda, const bf16* b, float* c) {
  constexpr std::ptrdiff_t kRow = kColumns * 4;  // bytes of a row of C, and of a row of pairs
  const std::ptrdiff_t step = lda * 2;
  float* below = c + 16 * kColumns;
  if constexpr (Add) {
    t.load<0>(c, kRow), t.load<1>(c + 16, kRow);
    if constexpr (Both) t.load<2>(below, kRow), t.load<3>(below + 16, kRow);
  } else {
    t.zero<0>(), t.zero<1>();
    if constexpr (Both) t.zero<2>(), t.zero<3>();
  }
  for (int d = 0; d < depth; d += 32, b += 32 * kColumns) {
    t.load<4>(a + d, step);
    t.load<6>(b, kRow), t.load<7>(b + 32, kRow);
    t.dot<0, 4, 6>(), t.dot<1, 4, 7>();
    if constexpr (Both) {
      t.load<5>(a + 16 * lda + d, step);
      t.dot<2, 5, 6>(), t.dot<3, 5, 7>();
    }
  }
  t.store<0>(c, kRow), t.store<1>(c + 16, kRow);
  if constexpr (Both) t.store<2>(below, kRow), t.store<3>(below + 16, kRow);
}

/// C [rows, 32] of A [rows, depth], whose rows are lda apart, and B [depth / 2, 32, 2].
template <bool Add>
inline void bf16_product(Tiles& t, int rows, int depth, const bf16* a, std::ptrdiff_t lda, const bf16* b, float* c) {
  int i = 0;
  for (; i + 32 <= rows; i += 32) tile_rows<Add, true>(t, depth, a + i * lda, lda, b, c + i * kColumns);
  if (i < rows) tile_rows<Add, false>(t, depth, a + i * lda, lda, b, c + i * kColumns);
}

/// Products on registers alone: kBf16FlopsPerRound · rounds operations.
inline constexpr int kBf16FlopsPerRound = 4 * 2 * 16 * 16 * 32;
inline float spin_bf16(std::int64_t rounds) noexcept {
  Tiles t;
  t.zero<0>(), t.zero<1>(), t.zero<2>(), t.zero<3>(), t.zero<4>(), t.zero<5>(), t.zero<6>(), t.zero<7>();
  for (std::int64_t n = 0; n < rounds; ++n) t.dot<0, 4, 6>(), t.dot<1, 4, 7>(), t.dot<2, 5, 6>(), t.dot<3, 5, 7>();
  float c[16][16];
  t.store<0>(c, sizeof c[0]);
  return c[0][0];
}

}  // namespace fovea::FOVEA_ISA
