// Between any float dtype, float and double: one element at a time for the reference, tests and conversions (not for
// hot loops), and runs of elements as floats.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include <fovea/dtype.hpp>

namespace fovea {

/// f(a null pointer of the dtype's own type). Callers admit floats only.
template <class F>
decltype(auto) by_float(DType t, F&& f) {
  switch (t) {
    case DType::F64:
      return f(static_cast<const double*>(nullptr));
    case DType::F32:
      return f(static_cast<const float*>(nullptr));
    case DType::BF16:
      return f(static_cast<const bf16*>(nullptr));
    default:
      return f(static_cast<const f16*>(nullptr));
  }
}

inline double load_element(DType t, const void* data, std::int64_t i) {
  return by_float(t, [&]<class T>(const T*) { return static_cast<double>(static_cast<const T*>(data)[i]); });
}

/// to[i] = the element at first + i · stride, i < n.
inline void widen(DType t, const void* data, std::int64_t first, std::int64_t stride, std::int64_t n, float* to) {
  by_float(t, [&]<class T>(const T*) {
    const T* from = static_cast<const T*>(data) + first;
    if (stride == 1) {  // by itself, so that it becomes vector code
      for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]);
    } else {
      for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i * stride]);
    }
  });
}

/// The float next to x whose last bit is set unless x is exact: rounding that to 16 bits is as if x had been rounded
/// once (Boldo and Melquiond 2008).
inline float round_to_odd(double x) {
  const auto f = static_cast<float>(x);
  if (static_cast<double>(f) == x || x != x || (std::bit_cast<std::uint32_t>(f) & 1u)) return f;
  return std::nextafter(f, x > static_cast<double>(f) ? HUGE_VALF : -HUGE_VALF);
}

inline void store_element(DType t, void* data, std::int64_t i, double x) {
  by_float(t, [&]<class T>(const T*) {
    T* to = static_cast<T*>(data) + i;
    if constexpr (sizeof(T) == 2)
      *to = T(round_to_odd(x));
    else
      *to = static_cast<T>(x);
  });
}

}  // namespace fovea
