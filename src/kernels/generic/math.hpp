// exp and its relatives on vectors. Written once on the façade, instantiated per instruction set. (Powers of two, which
// every weight is, are the façades' own: exp2.)
#pragma once

namespace fovea::FOVEA_ISA {

/// e^x. Relative error ≤ 1.2e-7 on [−87.3, 88]; exactly 0 below (−∞ included), so that no denormal weight arises; e^88
/// above; NaN stays NaN. Reduction x = n·ln2 + r in two parts (Cody & Waite), degree-5 polynomial (Cephes expf).
inline Vec exp(Vec x) {
  const Vec lowest = -87.3f;
  const Vec y = min(88.0f, max(lowest, x));  // operand order keeps NaN
  const Vec n = round_to_int(y * 1.44269504088896341f);
  const Vec r = fma(n, 2.12194440e-4f, fma(n, -0.693359375f, y));
  Vec p = fma(1.9875691500e-4f, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  p = fma(p, r * r, r + 1.0f);
  return select(x < lowest, 0.0f, scale_by_power_of_two(p, n));
}

/// Φ(x) = ½ erfc(−x/√2), the normal distribution. erfc(z) = e^(−z²)·t·P(t), t = 1/(1 + z/2), P fitted by Chebyshev on z
/// ∈ [0, 10] (relative error 5e-8 before rounding); the reflected side keeps its relative accuracy.
inline Vec normal_cdf(Vec x) {
  const Vec z = max(x, Vec(0.0f) - x) * 0.70710678118654752f;
  const Vec t = Vec(1.0f) / fma(z, 0.5f, 1.0f);
  Vec p = fma(-6.011015549e-2f, t, 2.894529104e-1f);
  p = fma(p, t, -4.968431294e-1f);
  p = fma(p, t, 2.885299027e-1f);
  p = fma(p, t, -3.340858966e-2f);
  p = fma(p, t, 2.053641826e-1f);
  p = fma(p, t, 2.424785197e-1f);
  p = fma(p, t, 2.824539542e-1f);
  p = fma(p, t, 2.820823491e-1f);
  const Vec half_tail = exp(Vec(0.0f) - z * z) * t * p * 0.5f;
  return select(x < 0.0f, half_tail, Vec(1.0f) - half_tail);
}

/// 1 / (1 + e^−x).
inline Vec sigmoid(Vec x) { return Vec(1.0f) / (exp(Vec(0.0f) - x) + 1.0f); }

/// tanh x = 1 − 2 / (e^2x + 1), and below 0.625 an odd polynomial (Cephes tanhf), where the difference would cancel.
inline Vec tanh(Vec x) {
  const Vec a = max(x, Vec(0.0f) - x), y = x * x;
  Vec p = fma(-5.70498872745e-3f, y, 2.06390887954e-2f);
  p = fma(p, y, -5.37397155531e-2f);
  p = fma(p, y, 1.33314422036e-1f);
  p = fma(p, y, -3.33332819422e-1f);
  const Vec small = fma(p * y, x, x);
  const Vec large = Vec(1.0f) - Vec(2.0f) / (exp(a + a) + 1.0f);
  return select(a < 0.625f, small, select(x < 0.0f, Vec(0.0f) - large, large));
}

}  // namespace fovea::FOVEA_ISA
