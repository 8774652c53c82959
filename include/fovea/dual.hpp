// A value with its derivative (forward-mode differentiation), and the functions that score functors may call on float,
// double and Dual alike. On float they have no branches and no calls, so that a loop over them vectorises.
#pragma once
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include <fovea/tile.hpp>

namespace fovea {

template <class T>
concept Number = std::is_arithmetic_v<T>;

namespace detail {
template <class V>
struct PrecisionOf {
  using type = V;
};
template <class V>
struct PrecisionOf<Dual<V>> {
  using type = V;
};
}  // namespace detail
/// The number that V computes in. A functor's constants go to it before they meet each other: 1 / cap in float would
/// leave a float's error in the double reference.
template <class V>
using Precision = typename detail::PrecisionOf<V>::type;

template <class V>
constexpr Dual<V> operator+(Dual<V> a, Dual<V> b) {
  return {a.value + b.value, a.slope + b.slope};
}
template <class V>
constexpr Dual<V> operator-(Dual<V> a, Dual<V> b) {
  return {a.value - b.value, a.slope - b.slope};
}
template <class V>
constexpr Dual<V> operator*(Dual<V> a, Dual<V> b) {
  return {a.value * b.value, a.slope * b.value + a.value * b.slope};
}
template <class V>
constexpr Dual<V> operator/(Dual<V> a, Dual<V> b) {
  return {a.value / b.value, (a.slope * b.value - a.value * b.slope) / (b.value * b.value)};
}
template <class V>
constexpr Dual<V> operator-(Dual<V> a) {
  return {-a.value, -a.slope};
}
template <class V, Number C>
constexpr Dual<V> operator+(Dual<V> a, C c) {
  return {a.value + V(c), a.slope};
}
template <class V, Number C>
constexpr Dual<V> operator+(C c, Dual<V> a) {
  return a + c;
}
template <class V, Number C>
constexpr Dual<V> operator-(Dual<V> a, C c) {
  return {a.value - V(c), a.slope};
}
template <class V, Number C>
constexpr Dual<V> operator-(C c, Dual<V> a) {
  return {V(c) - a.value, -a.slope};
}
template <class V, Number C>
constexpr Dual<V> operator*(Dual<V> a, C c) {
  return {a.value * V(c), a.slope * V(c)};
}
template <class V, Number C>
constexpr Dual<V> operator*(C c, Dual<V> a) {
  return a * c;
}
template <class V, Number C>
constexpr Dual<V> operator/(Dual<V> a, C c) {
  return {a.value / V(c), a.slope / V(c)};
}

/// tanh of a float: below 0.625 an odd polynomial, above it 1 − 2 / (e^2|x| + 1); relative error ≤ 1.5e-7 everywhere.
/// Of number types these are templates, so that beside `using namespace fovea` a program's own tanh(x) is still libm's.
template <std::same_as<float> V>
V tanh(V x) {
  // A conditional expression would let the compiler sink an arm into a branch, and a branch does not vectorise: choose
  // by bits.
  const auto choose = [](bool first, float a, float b) {
    const std::uint32_t all = 0u - static_cast<std::uint32_t>(first);
    return std::bit_cast<float>((std::bit_cast<std::uint32_t>(a) & all) | (std::bit_cast<std::uint32_t>(b) & ~all));
  };
  const std::uint32_t sign = std::bit_cast<std::uint32_t>(x) & 0x80000000u;
  const float a = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) ^ sign), y = a * a;
  // Cephes tanhf on [0, 0.625]: tanh(a) = a + a·y·P(y)
  const float small =
      a + a * y *
              (-3.33332819422e-1f +
               y * (1.33314422036e-1f + y * (-5.37397155531e-2f + y * (2.06390887954e-2f + y * -5.70498872745e-3f))));
  const float z = choose(a > 20, 40, 2 * a);  // beyond 20, tanh is 1 in float
  // e^z = 2^n · e^r, |r| ≤ ln 2 / 2; n by adding and removing 1.5·2^23
  const float n = (z * 1.44269504f + 12582912.f) - 12582912.f;
  const float r = (z - n * 0.693359375f) + n * 2.12194440e-4f;
  const float e =
      1 + r * (1 + r * (0.5f + r * (1.66666659e-1f + r * (4.16657962e-2f + r * (8.33449e-3f + r * 1.39324e-3f)))));
  const float power = std::bit_cast<float>((static_cast<std::int32_t>(choose(a == a, n, 0)) + 127) << 23);
  const float large = 1 - 2 / (e * power + 1);  // NaN stays NaN through e
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(choose(a < 0.625f, small, large)) | sign);
}
template <std::same_as<double> V>
V tanh(V x) {
  return std::tanh(x);
}
template <class V>
Dual<V> tanh(Dual<V> a) {
  const V t = tanh(a.value);
  return {t, a.slope * (V(1) - t * t)};
}

}  // namespace fovea
