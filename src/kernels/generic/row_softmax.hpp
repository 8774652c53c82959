// The softmax of whole rows, as over a vocabulary.
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/parts.hpp"

namespace fovea::FOVEA_ISA {

/// y [rows, width] = e^(x − lse), lse [rows] = ln Σ e^x; either may be null. y may be x.
inline void row_softmax(const float* x, int rows, int width, float* y, float* lse) noexcept {
  for (int r = 0; r < rows; ++r, x += width) {
    Vec highest = -__builtin_inff();
    int i = 0;
    for (; i + kLanes <= width; i += kLanes) highest = max(load(x + i), highest);
    float top = reduce_max(highest);
    for (; i < width; ++i) top = x[i] > top ? x[i] : top;  // a NaN shows in the sum
    if (!y) {
      const double sum = sum_over(x, width, [&](Vec v) { return exp(v - top); });
      lse[r] = top + static_cast<float>(__builtin_log(sum));
      continue;
    }
    if (y != x)
      for (int j = 0; j < width; ++j) y[j] = x[j];
    map(y, width, y, [&](Vec v) { return exp(v - top); });
    const double sum = sum_over(y, width, [](Vec v) { return v; });
    map(y, width, y, [&](Vec v) { return v / static_cast<float>(sum); });
    if (lse) lse[r] = top + static_cast<float>(__builtin_log(sum));
    y += width;
  }
}

/// y [width] = factor · e^(x − lse) − less.
inline void row_slope(const float* x, int width, float lse, float factor, float less, float* y) noexcept {
  for_parts(width, [&](int i, int n) { put(y + i, n, exp(get(x + i, n) - lse) * factor - less); });
}

}  // namespace fovea::FOVEA_ISA
