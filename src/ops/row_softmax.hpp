// The softmax of rows over raw memory, in both precisions: what softmax, log_softmax and the cross-entropy are made of.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/registry.hpp"

namespace fovea {

/// y [rows, width] = e^(x − lse), lse [rows] = ln Σ e^x; either may be null.
inline void row_softmax(const float* x, std::int64_t rows, std::int64_t width, float* y, float* lse) {
  active_table().row_softmax(x, static_cast<int>(rows), static_cast<int>(width), y, lse);
}
inline void row_softmax(const double* x, std::int64_t rows, std::int64_t width, double* y, double* lse) {
  for (std::int64_t r = 0; r < rows; ++r, x += width) {
    const double top = width > 0 ? *std::max_element(x, x + width) : -std::numeric_limits<double>::infinity();
    double sum = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += std::exp(x[i] - top);
    for (std::int64_t i = 0; y && i < width; ++i) y[r * width + i] = std::exp(x[i] - top) / sum;
    if (lse) lse[r] = top + std::log(sum);
  }
}

/// y [width] = factor · e^(x − lse) − less.
inline void row_slope(const float* x, std::int64_t width, float lse, float factor, float less, float* y) {
  active_table().row_slope(x, static_cast<int>(width), lse, factor, less, y);
}
inline void row_slope(const double* x, std::int64_t width, double lse, double factor, double less, double* y) {
  for (std::int64_t i = 0; i < width; ++i) y[i] = factor * std::exp(x[i] - lse) - less;
}

}  // namespace fovea
