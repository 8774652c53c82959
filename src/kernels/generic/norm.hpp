// Layer norm and root-mean-square norm, forward and back.
#pragma once
#include "kernels/generic/parts.hpp"

namespace fovea::FOVEA_ISA {

/// What a row is normalised by: x̂ = (x − mean) · inverse. Without centring the mean is 0.
struct Moments {
  float mean, inverse;
};

template <bool Centred>
inline Moments moments(const float* x, int width, float eps) {
  const float mean = Centred ? static_cast<float>(sum_over(x, width, [](Vec v) { return v; }) / width) : 0;
  const double variance = sum_over(x, width, [&](Vec v) { return (v - mean) * (v - mean); }) / width;
  // One rounding: an error here is shared by the whole row, and doesn't average out in what is made of it.
  return {mean, static_cast<float>(1 / __builtin_sqrt(variance + static_cast<double>(eps)))};
}

inline void layer_norm(const float* x, int rows, int width, const float* gain, const float* shift, float eps,
                       float* y) noexcept {
  for (int r = 0; r < rows; ++r, x += width, y += width) {
    const Moments m = moments<true>(x, width, eps);
    int i = 0;
    for (; i + kLanes <= width; i += kLanes)
      store(y + i, fma((load(x + i) - m.mean) * m.inverse, load(gain + i), load(shift + i)));
    for (; i < width; ++i) y[i] = (x[i] - m.mean) * m.inverse * gain[i] + shift[i];
  }
}

inline void rms_norm(const float* x, int rows, int width, const float* gain, float eps, float* y) noexcept {
  for (int r = 0; r < rows; ++r, x += width, y += width) {
    const Moments m = moments<false>(x, width, eps);
    int i = 0;
    for (; i + kLanes <= width; i += kLanes) store(y + i, load(x + i) * m.inverse * load(gain + i));
    for (; i < width; ++i) y[i] = x[i] * m.inverse * gain[i];
  }
}

/// With g = dy · gain and means over the row: dx = inverse · (g − mean(g) − x̂ · mean(g · x̂)), the first mean for
/// centred norms only; dgain += dy · x̂; dshift += dy where it isn't null. Moments are found again rather than kept.
template <bool Centred>
inline void norm_backward(const float* x, const float* dy, int rows, int width, const float* gain, float eps, float* dx,
                          float* dgain, float* dshift) {
  const auto mean = [width](double sum) { return static_cast<float>(sum / width); };
  for (int r = 0; r < rows; ++r, x += width, dy += width, dx += width) {
    const Moments m = moments<Centred>(x, width, eps);
    const float g_mean = Centred ? mean(sum_over(dy, gain, width, [](Vec d, Vec g) { return d * g; })) : 0;
    for (int i = 0; i < width; ++i) dx[i] = dy[i] * gain[i];
    const float along = mean(sum_over(x, dx, width, [&](Vec v, Vec g) { return (v - m.mean) * m.inverse * g; }));
    map(x, dx, width, dx, [&](Vec v, Vec g) { return (g - g_mean - (v - m.mean) * m.inverse * along) * m.inverse; });
    for (int i = 0; i < width; ++i) dgain[i] += dy[i] * ((x[i] - m.mean) * m.inverse);
    for (int i = 0; dshift && i < width; ++i) dshift[i] += dy[i];
  }
}

inline void layer_norm_backward(const float* x, const float* dy, int rows, int width, const float* gain, float eps,
                                float* dx, float* dgain, float* dshift) noexcept {
  norm_backward<true>(x, dy, rows, width, gain, eps, dx, dgain, dshift);
}
inline void rms_norm_backward(const float* x, const float* dy, int rows, int width, const float* gain, float eps,
                              float* dx, float* dgain) noexcept {
  norm_backward<false>(x, dy, rows, width, gain, eps, dx, dgain, nullptr);
}

}  // namespace fovea::FOVEA_ISA
