// Linear layers: what stands beside attention in a transformer.
#pragma once
#include "kernels/generic/matmul.hpp"

namespace fovea::FOVEA_ISA {

inline void linear(int rows, int in, const float* x, const float* panel, const float* bias, float* y,
                   std::ptrdiff_t ldy, int columns) noexcept {
  // Sums over runs of kDepth, added up: one long sum has several times the rounding error.
  constexpr int kPanel = 64, kRows = 4 * kTileRows, kDepth = 64;
  float block[kRows * kPanel];  // [kRows, 64]: seeded with the bias, so the product adds to it
  for (int r = 0; r < rows; r += kRows) {
    const int n = rows - r < kRows ? rows - r : kRows;
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < kPanel; j += kLanes) store(block + i * kPanel + j, load(bias + j));
    for (int d = 0; d < in; d += kDepth)
      product<true>(n, kPanel, in - d < kDepth ? in - d : kDepth, x + std::ptrdiff_t{r} * in + d, in,
                    panel + std::ptrdiff_t{d} * kPanel, kPanel, block, kPanel);
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < columns; ++j) y[(r + i) * ldy + j] = block[i * kPanel + j];
  }
}

/// to [columns, rows] = fromᵀ, from [rows, columns], whose rows lie `to_stride` and `from_stride` apart.
inline void turn(const float* from, std::ptrdiff_t from_stride, int rows, int columns, float* to,
                 std::ptrdiff_t to_stride) noexcept {
  for (int r = 0; r < rows; r += kLanes)
    for (int c = 0; c < columns; c += kLanes) {
      const float* source = from + r * from_stride + c;
      float* target = to + c * to_stride + r;
      if (r + kLanes <= rows && c + kLanes <= columns) {
        Vec square[kLanes];
        for (int i = 0; i < kLanes; ++i) square[i] = load(source + i * from_stride);
        transpose(square);
        for (int i = 0; i < kLanes; ++i) store(target + i * to_stride, square[i]);
      } else {
        for (int j = 0; j < kLanes && c + j < columns; ++j)
          for (int i = 0; i < kLanes && r + i < rows; ++i) target[j * to_stride + i] = source[i * from_stride + j];
      }
    }
}

/// 12 independent chains hide an FMA's latency of 4 on two ports.
inline float spin_fma(std::int64_t rounds) noexcept {
  constexpr int kChains = 12;
  Vec sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = static_cast<float>(i);
  const Vec a = 0.999f, b = 0.001f;
  for (std::int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = fma(sum[i], a, b);
  }
  for (int i = 1; i < kChains; ++i) sum[0] = sum[0] + sum[i];
  return reduce_add(sum[0]);
}

}  // namespace fovea::FOVEA_ISA
