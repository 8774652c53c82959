// One element at a time, between any float dtype and double. For the reference, tests and conversions, not for hot
// loops.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <fovea/dtype.hpp>

namespace fovea {

inline double load_element(DType t, const void* data, std::int64_t i) {
  switch (t) {
    case DType::F64:
      return static_cast<const double*>(data)[i];
    case DType::F32:
      return static_cast<const float*>(data)[i];
    case DType::BF16:
      return static_cast<const bf16*>(data)[i];
    case DType::F16:
      return static_cast<const f16*>(data)[i];
    default:
      return 0;  // callers admit floats only
  }
}

/// The float next to x whose last bit is set unless x is exact: rounding that to 16 bits is as if x had been rounded
/// once (Boldo and Melquiond 2008).
inline float round_to_odd(double x) {
  const auto f = static_cast<float>(x);
  if (static_cast<double>(f) == x || x != x || (std::bit_cast<std::uint32_t>(f) & 1u)) return f;
  return std::nextafter(f, x > static_cast<double>(f) ? HUGE_VALF : -HUGE_VALF);
}

inline void store_element(DType t, void* data, std::int64_t i, double x) {
  switch (t) {
    case DType::F64:
      static_cast<double*>(data)[i] = x;
      break;
    case DType::F32:
      static_cast<float*>(data)[i] = static_cast<float>(x);
      break;
    case DType::BF16:
      static_cast<bf16*>(data)[i] = bf16(round_to_odd(x));
      break;
    case DType::F16:
      static_cast<f16*>(data)[i] = f16(round_to_odd(x));
      break;
    default:
      break;
  }
}

}  // namespace fovea
