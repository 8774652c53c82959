// Linear layers, activations and layer norm: what stands beside attention in a transformer.
#pragma once
#include "kernels/generic/math.hpp"
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

template <class F>
inline void map(float* x, std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(x + i, f(load(x + i)));
  if (i == n) return;
  float tail[kLanes] = {};
  for (std::int64_t j = i; j < n; ++j) tail[j - i] = x[j];
  store(tail, f(load(tail)));
  for (std::int64_t j = i; j < n; ++j) x[j] = tail[j - i];
}

/// `which` numbers fovea::Activation (ops/pointwise.hpp), which kernels must not include.
inline void activate(int which, float* x, std::int64_t n) noexcept {
  switch (which) {
    case 1:
      return map(x, n, [](Vec v) { return max(0.0f, v); });
    case 2:
      return map(x, n, [](Vec v) { return v * normal_cdf(v); });
    case 3:  // ½x(1 + tanh(√(2/π)(x + 0.044715x³)))
      return map(x, n, [](Vec v) {
        const Vec inner = v * fma(v * v, 0.044715f * 0.7978845608028654f, 0.7978845608028654f);
        return v * 0.5f * (tanh(inner) + 1.0f);
      });
    case 4:
      return map(x, n, [](Vec v) { return v * sigmoid(v * 1.702f); });
    case 5:
      return map(x, n, [](Vec v) { return v * sigmoid(v); });
    case 6:
      return map(x, n, [](Vec v) { return tanh(v); });
    case 7:
      return map(x, n, [](Vec v) { return sigmoid(v); });
    default:
      return;
  }
}

/// Sum over a row of f(x); the tail beyond whole vectors one by one.
template <class F>
inline float row_sum(const float* x, int width, F f) {
  Vec total = 0.0f;
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) total = total + f(load(x + i));
  float tail[kLanes] = {};
  for (int j = i; j < width; ++j) {
    float one[kLanes];
    store(one, f(Vec(x[j])));
    tail[j - i] = one[0];
  }
  return reduce_add(total + load(tail));
}

inline void layer_norm(const float* x, int rows, int width, const float* gain, const float* shift, float eps,
                       float* y) noexcept {
  for (int r = 0; r < rows; ++r, x += width, y += width) {
    const float mean = row_sum(x, width, [](Vec v) { return v; }) / static_cast<float>(width);
    const float variance =
        row_sum(x, width, [&](Vec v) { return (v - mean) * (v - mean); }) / static_cast<float>(width);
    const float inverse = 1 / __builtin_sqrtf(variance + eps);
    int i = 0;
    for (; i + kLanes <= width; i += kLanes)
      store(y + i, fma((load(x + i) - mean) * inverse, load(gain + i), load(shift + i)));
    for (; i < width; ++i) y[i] = (x[i] - mean) * inverse * gain[i] + shift[i];
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
