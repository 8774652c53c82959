// Activations, and their slopes beside them.
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/parts.hpp"

namespace fovea::FOVEA_ISA {

/// The argument of GeluTanh's tanh: √(2/π)(x + 0.044715x³).
inline Vec gelu_inner(Vec x) { return x * fma(x * x, 0.044715f * 0.7978845608028654f, 0.7978845608028654f); }

/// y [n] = f(x), y may be x. `which` numbers fovea::Activation (ops/pointwise.hpp), which kernels must not include.
inline void activate(int which, const float* x, std::int64_t n, float* y) noexcept {
  switch (which) {
    case 1:
      return map(x, n, y, [](Vec v) { return max(0.0f, v); });
    case 2:
      return map(x, n, y, [](Vec v) { return v * normal_cdf(v); });
    case 3:
      return map(x, n, y, [](Vec v) { return v * 0.5f * (tanh(gelu_inner(v)) + 1.0f); });
    case 4:
      return map(x, n, y, [](Vec v) { return v * sigmoid(v * 1.702f); });
    case 5:
      return map(x, n, y, [](Vec v) { return v * sigmoid(v); });
    case 6:
      return map(x, n, y, [](Vec v) { return tanh(v); });
    case 7:
      return map(x, n, y, [](Vec v) { return sigmoid(v); });
    default:
      return;
  }
}

/// dx [n] = dy · f'(x), x being what went in; dx may be dy.
inline void activate_backward(int which, const float* x, const float* dy, std::int64_t n, float* dx) noexcept {
  switch (which) {
    case 1:
      return map(x, dy, n, dx, [](Vec v, Vec d) { return select(Vec(0.0f) < v, d, 0.0f); });
    case 2:  // Φ(x) + xφ(x)
      return map(x, dy, n, dx,
                 [](Vec v, Vec d) { return d * fma(v * 0.39894228040143268f, exp(v * v * -0.5f), normal_cdf(v)); });
    case 3:
      return map(x, dy, n, dx, [](Vec v, Vec d) {
        const Vec t = tanh(gelu_inner(v));
        const Vec inner = fma(v * v, 3 * 0.044715f * 0.7978845608028654f, 0.7978845608028654f);
        return d * 0.5f * fma(v * inner, Vec(1.0f) - t * t, t + 1.0f);
      });
    case 4:
      return map(x, dy, n, dx, [](Vec v, Vec d) {
        const Vec s = sigmoid(v * 1.702f);
        return d * fma(v * 1.702f * s, Vec(1.0f) - s, s);
      });
    case 5:
      return map(x, dy, n, dx, [](Vec v, Vec d) {
        const Vec s = sigmoid(v);
        return d * fma(v * s, Vec(1.0f) - s, s);
      });
    case 6:
      return map(x, dy, n, dx, [](Vec v, Vec d) {
        const Vec t = tanh(v);
        return d * (Vec(1.0f) - t * t);
      });
    case 7:
      return map(x, dy, n, dx, [](Vec v, Vec d) {
        const Vec s = sigmoid(v);
        return d * s * (Vec(1.0f) - s);
      });
    default:
      return;
  }
}

}  // namespace fovea::FOVEA_ISA
