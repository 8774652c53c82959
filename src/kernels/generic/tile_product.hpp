// The matrix product of bf16 numbers by tile registers, sums in f32: C = A·B or C += A·B, or of f32 numbers in parts of
// bf16 (split_floats.hpp) C = A·B.
//
// Four tiles hold 32 × 32 numbers of C; per 32 of depth two tiles of A and two of B are loaded for four products. A
// product takes 16 cycles of the tile unit, a load 8 of the load ports, so from L1 the loads of a step (4 · 8) hide
// behind its products (4 · 16). A lies in rows of bf16 as memory has it: nothing is turned. B in rows of pairs: row r
// holds numbers 2r and 2r + 1 of each column.
//
// Of parts, six products are made in an order in which one operand stays where it is: 14 loads for 24 products, the
// least products first.
#pragma once
#include <cstddef>
#include <cstdint>

#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

using Bf16Unit = Tiles;

inline constexpr int kColumns = 32;    // of B and C
inline constexpr int kDepthUnit = 32;  // depth is a multiple of it
inline constexpr int kRowUnit = 16;    // and rows of this

/// A [rows, depth]: rows lda apart, its parts `part` apart.
struct LeftOperand {
  const bf16* rows;
  std::ptrdiff_t lda, part = 0;
};
/// B [depth / 2, kColumns, 2], its parts `part` apart.
struct RightOperand {
  const bf16* pairs;
  std::ptrdiff_t part = 0;
};

/// The loads and products of 16 (or with Both 32) rows of C, which are tiles 0 to 3.
template <bool Both>
struct TileStep {
  static constexpr std::ptrdiff_t kRow = kColumns * 4;  // bytes of a row of pairs
  Tiles& t;
  LeftOperand a;
  RightOperand b;

  [[gnu::always_inline]] void left(int part, int depth) {
    const bf16* rows = a.rows + part * a.part + depth;
    t.load<4>(rows, a.lda * 2);
    if constexpr (Both) t.load<5>(rows + 16 * a.lda, a.lda * 2);
  }
  [[gnu::always_inline]] void right(int part, int depth) {
    const bf16* pairs = b.pairs + part * b.part + std::ptrdiff_t{depth} * kColumns;
    t.load<6>(pairs, kRow), t.load<7>(pairs + 32, kRow);
  }
  [[gnu::always_inline]] void dot() {
    t.dot<0, 4, 6>(), t.dot<1, 4, 7>();
    if constexpr (Both) t.dot<2, 5, 6>(), t.dot<3, 5, 7>();
  }
};

template <int kParts, bool Add, bool Both>
inline void tile_rows(Tiles& t, int depth, LeftOperand a, RightOperand b, float* c, std::ptrdiff_t ldc) {
  const std::ptrdiff_t row = ldc * 4;  // bytes
  float* below = c + 16 * ldc;
  if constexpr (Add) {
    t.load<0>(c, row), t.load<1>(c + 16, row);
    if constexpr (Both) t.load<2>(below, row), t.load<3>(below + 16, row);
  } else {
    t.zero<0>(), t.zero<1>();
    if constexpr (Both) t.zero<2>(), t.zero<3>();
  }
  TileStep<Both> step{t, a, b};
  for (int d = 0; d < depth; d += kDepthUnit)
    if constexpr (kParts == 1) {
      step.left(0, d), step.right(0, d), step.dot();
    } else {
      static_assert(kParts == 3);
      step.left(2, d), step.right(0, d), step.dot();
      step.left(1, d), step.dot();
      step.right(1, d), step.dot();
      step.left(0, d), step.dot();
      step.right(2, d), step.dot();
      step.right(0, d), step.dot();
    }
  t.store<0>(c, row), t.store<1>(c + 16, row);
  if constexpr (Both) t.store<2>(below, row), t.store<3>(below + 16, row);
}

/// C [rows, kColumns] = A·B, or with Add C += A·B. Rows of C are ldc apart.
template <int kParts, bool Add>
inline void tile_product(Tiles& t, int rows, int depth, LeftOperand a, RightOperand b, float* c,
                         std::ptrdiff_t ldc = kColumns) {
  int i = 0;
  for (; i + 32 <= rows; i += 32, a.rows += 32 * a.lda) tile_rows<kParts, Add, true>(t, depth, a, b, c + i * ldc, ldc);
  if (i < rows) tile_rows<kParts, Add, false>(t, depth, a, b, c + i * ldc, ldc);
}

/// C [rows, 32] of A [rows, depth], whose rows are lda apart, and B [depth / 2, 32, 2].
template <bool Add>
inline void bf16_product(Tiles& t, int rows, int depth, const bf16* a, std::ptrdiff_t lda, const bf16* b, float* c) {
  tile_product<1, Add>(t, rows, depth, {a, lda}, {b}, c);
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
