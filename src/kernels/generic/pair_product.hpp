// The matrix product of bf16 numbers by dot products of pairs: C = A·B, or C += A·B, sums in f32.
//
// A [rows, depth] lies in rows of bf16, B in rows of pairs: row r of B holds numbers 2r and 2r + 1 of each column. As
// in matmul.hpp a register tile holds kTileRows rows of A against kTileVecs vectors of B, so kColumns columns; a
// broadcast of two numbers of A meets kLanes pairs. On Zen 4 a dot product takes the slot of an FMA and does twice its
// work; on Intel with AMX two slots, so that widening to f32 is as fast: the registry's probe decides.
#pragma once
#include <cstddef>
#include <cstdint>

#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

/// What products keep between calls: nothing, where tiles would have registers to set up.
struct Bf16Unit {};

inline constexpr int kColumns = kTileVecs * kLanes;  // of B and C
inline constexpr int kDepthUnit = 2;                 // depth is a multiple of it
inline constexpr int kRowUnit = 1;

template <bool Add, int Rows>
inline void pair_tile(const bf16* a, std::ptrdiff_t lda, const bf16* b, float* c, int depth) {
  Vec sum[Rows][kTileVecs];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < kTileVecs; ++j) sum[i][j] = 0.0f;
  for (int d = 0; d < depth; d += 2, b += 2 * kColumns) {
    Pairs right[kTileVecs];
#pragma GCC unroll 8
    for (int j = 0; j < kTileVecs; ++j) right[j] = load_pairs(b + 2 * j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const Pairs left = broadcast_pair(a + i * lda + d);
#pragma GCC unroll 8
      for (int j = 0; j < kTileVecs; ++j) sum[i][j] = dot(sum[i][j], left, right[j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < kTileVecs; ++j) {
      float* to = c + i * kColumns + j * kLanes;
      store(to, Add ? load(to) + sum[i][j] : sum[i][j]);  // C joins last, as in matmul.hpp
    }
}

/// C [rows, kColumns] of A [rows, depth], whose rows are lda apart, and B [depth / 2, kColumns, 2].
template <bool Add>
inline void bf16_product(Bf16Unit&, int rows, int depth, const bf16* a, std::ptrdiff_t lda, const bf16* b, float* c) {
  int i = 0;
  for (; i + kTileRows <= rows; i += kTileRows) pair_tile<Add, kTileRows>(a + i * lda, lda, b, c + i * kColumns, depth);
  for (; i + 2 <= rows; i += 2) pair_tile<Add, 2>(a + i * lda, lda, b, c + i * kColumns, depth);
  for (; i < rows; ++i) pair_tile<Add, 1>(a + i * lda, lda, b, c + i * kColumns, depth);
}

/// Dot products on registers alone: kBf16FlopsPerRound · rounds operations.
inline constexpr int kBf16FlopsPerRound = 12 * 4 * kLanes;
inline float spin_bf16(std::int64_t rounds) noexcept {
  constexpr int kChains = 12;
  bf16 numbers[2 * kLanes];
  for (bf16& x : numbers) x = bf16(0.001f);
  const Pairs a = load_pairs(numbers), b = broadcast_pair(numbers);
  Vec sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = static_cast<float>(i);
  for (std::int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = dot(sum[i], a, b);
  }
  for (int i = 1; i < kChains; ++i) sum[0] = sum[0] + sum[i];
  return reduce_add(sum[0]);
}

}  // namespace fovea::FOVEA_ISA
