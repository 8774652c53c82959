// Linear layers: what stands beside attention in a transformer.
#pragma once
#include "kernels/generic/linear_strips.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kPanel = 64;  // columns of B that are packed side by side
// Sums over runs of so many are added up: one long sum has several times the error.
inline constexpr int kDepthAtOnce = 64;     // of turned products
inline constexpr int kDepthOfLinear = 128;  // every end of a run takes 8% of a run of 64, and 1.4 times the error here

/// Four register tiles of rows at a time meet 128 rows of the panel (32 KB, from L2), so that it is read again for
/// every 24 rows: a line for 12 cycles of FMA. The next panel is asked for meanwhile (5% of a layer of 384 by 384 at
/// 256 rows).
inline void linear(int rows, DepthRun run, const float* x, std::ptrdiff_t ldx, const float* panel, const float* bias,
                   float* y, std::ptrdiff_t ldy, int columns, MemoryRun next) noexcept {
  constexpr int kRows = 4 * kTileRows;
  const Ahead ahead(
      next,
      std::int64_t{(rows + kTileRows - 1) / kTileRows} * ((run.size() + kDepthOfLinear - 1) / kDepthOfLinear) + 1);
  linear_strips<kPanel, kRows, kDepthOfLinear>(rows, run, x, ldx, panel, bias, y, ldy, columns, ahead);
}

/// Runs of rows outermost: a and b are read in the order in which they lie, once for 192 rows of c.
inline void linear_turned(int rows, int outs, const float* a, std::ptrdiff_t lda, const float* b, std::ptrdiff_t ldb,
                          float* c, std::ptrdiff_t ldc, int columns) noexcept {
  constexpr int kMost = 192;
  float left[kDepthAtOnce * kMost];    // [64, 192] of a, where its rows lie so far apart that each is a page of its own
  float right[kDepthAtOnce * kPanel];  // [64, 64] of b
  float sums[kMost * kPanel];          // [192, 64], where c's rows end within a panel
  const bool far = lda > 512;
  const int whole = columns / kPanel * kPanel, rest = columns - whole;
  for (int o = 0; o < outs; o += kMost) {
    const int n = outs - o < kMost ? outs - o : kMost;
    float* to = c + o * ldc;
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < columns; ++j) to[i * ldc + j] = 0;
    for (int i = 0; i < n * kPanel && rest; ++i) sums[i] = 0;
    for (int r = 0; r < rows; r += kDepthAtOnce) {
      const int depth = rows - r < kDepthAtOnce ? rows - r : kDepthAtOnce;
      const float* near = far ? left : a + r * lda + o;
      const std::ptrdiff_t stride = far ? kMost : lda;
      if (far) copy_block<kMost>(a + r * lda + o, lda, depth, n, left);
      for (int j = 0; j < columns; j += kPanel) {
        copy_block<kPanel>(b + r * ldb + j, ldb, depth, j < whole ? kPanel : rest, right);
        product<true, Left::Turned>(n, kPanel, depth, near, stride, right, kPanel, j < whole ? to + j : sums,
                                    j < whole ? ldc : kPanel);
      }
    }
    for (int i = 0; i < n && rest; ++i)
      for (int j = 0; j < rest; ++j) to[i * ldc + whole + j] = sums[i * kPanel + j];
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

/// x [n] read and nothing else: added up in eight chains. n is a multiple of 8 · kLanes.
inline float read_alone(const float* x, std::int64_t n) noexcept {
  constexpr int kChains = 8;
  Vec sum[kChains] = {};
  for (std::int64_t j = 0; j < n; j += kChains * kLanes)
#pragma GCC unroll 8
    for (int i = 0; i < kChains; ++i) sum[i] = sum[i] + load(x + j + i * kLanes);
  for (int i = 1; i < kChains; ++i) sum[0] = sum[0] + sum[i];
  return reduce_add(sum[0]);
}

}  // namespace fovea::FOVEA_ISA
