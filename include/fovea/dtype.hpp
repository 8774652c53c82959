// Element types: names, sizes, and the two 16-bit floats that C++20 lacks.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace fovea {

enum class DType : std::uint8_t { F64, F32, BF16, F16, I64, I32, I16, I8, U64, U32, U16, U8, Bool };

/// Bytes of one element.
constexpr int size_of(DType t) {
  switch (t) {
    case DType::F64:
    case DType::I64:
    case DType::U64:
      return 8;
    case DType::F32:
    case DType::I32:
    case DType::U32:
      return 4;
    case DType::BF16:
    case DType::F16:
    case DType::I16:
    case DType::U16:
      return 2;
    case DType::I8:
    case DType::U8:
    case DType::Bool:
      return 1;
  }
  return 0;
}

/// The name that safetensors and the command line use: "F32", "BF16", …
constexpr std::string_view name_of(DType t) {
  constexpr std::string_view names[] = {"F64", "F32", "BF16", "F16", "I64", "I32", "I16",
                                        "I8",  "U64", "U32",  "U16", "U8",  "BOOL"};
  return names[static_cast<int>(t)];
}

// Conversions are always inlined: kernels for several instruction sets use them, and a shared copy must not be built
// with the flags of one.

/// bfloat16: the upper half of a float. Conversion rounds to nearest, ties to even; NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;
  bf16() = default;
  [[gnu::always_inline]] constexpr explicit bf16(float f) {
    const auto u = std::bit_cast<std::uint32_t>(f);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  [[gnu::always_inline]] constexpr operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// IEEE 754 binary16. Conversion rounds to nearest, ties to even; overflow goes to infinity, NaN stays NaN.
struct f16 {
  std::uint16_t bits = 0;
  f16() = default;
  [[gnu::always_inline]] constexpr explicit f16(float f) {
    const auto u = std::bit_cast<std::uint32_t>(f);
    const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
      bits = static_cast<std::uint16_t>(sign | 0x7e00u);
    else if (magnitude >= 0x477ff000u)
      bits = static_cast<std::uint16_t>(sign | 0x7c00u);  // ≥ 65520 rounds to infinity
    else if (magnitude < 0x38800000u) {  // below 2⁻¹⁴: let the float adder round at the position of f16's last bit
      const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
      bits = static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(aligned) - 0x3f000000u));
    } else {
      const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
      bits = static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
    }
  }
  // All three kinds are made and one is chosen: without branches a loop over it becomes vector code.
  [[gnu::always_inline]] constexpr operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16, rest = bits & 0x7fffu;
    const auto subnormal =
        std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<int>(rest)) * 0x1p-24f);  // exact
    const std::uint32_t normal = (rest << 13) + 0x38000000u;
    const std::uint32_t finite = rest < 0x400u ? subnormal : normal;
    return std::bit_cast<float>(sign | (rest >= 0x7c00u ? normal | 0x7f800000u : finite));
  }
};

template <class T>
struct dtype_of_type;
template <>
struct dtype_of_type<double> {
  static constexpr DType value = DType::F64;
};
template <>
struct dtype_of_type<float> {
  static constexpr DType value = DType::F32;
};
template <>
struct dtype_of_type<bf16> {
  static constexpr DType value = DType::BF16;
};
template <>
struct dtype_of_type<f16> {
  static constexpr DType value = DType::F16;
};
template <>
struct dtype_of_type<std::int64_t> {
  static constexpr DType value = DType::I64;
};
template <>
struct dtype_of_type<std::int32_t> {
  static constexpr DType value = DType::I32;
};
template <>
struct dtype_of_type<std::uint8_t> {
  static constexpr DType value = DType::U8;
};
template <>
struct dtype_of_type<bool> {
  static constexpr DType value = DType::Bool;
};
/// dtype_of<float> == DType::F32; const is ignored.
template <class T>
inline constexpr DType dtype_of = dtype_of_type<std::remove_const_t<T>>::value;

constexpr bool is_float(DType t) { return t == DType::F64 || t == DType::F32 || t == DType::BF16 || t == DType::F16; }

}  // namespace fovea
