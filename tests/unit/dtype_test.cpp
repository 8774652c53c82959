// bf16 and f16 against arithmetic on their definition: value = significand · 2^exponent, rounding to nearest, ties to
// even.
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fovea/dtype.hpp>
#include <fovea/tensor.hpp>

#include "support/random.hpp"

namespace fovea {
namespace {

using testing::for_cases;
using testing::Rng;

// What distinguishes the two: stored significand bits, and the exponent of the smallest normal number.
template <class T>
struct Format;
template <>
struct Format<bf16> {
  static constexpr int kSignificand = 7, kLeastExponent = -126;
};
template <>
struct Format<f16> {
  static constexpr int kSignificand = 10, kLeastExponent = -14;
};

template <class T>
T from_bits(unsigned bits) {
  T x;
  x.bits = static_cast<std::uint16_t>(bits);
  return x;
}

template <class T>
double meaning(unsigned bits) {
  constexpr int significand = Format<T>::kSignificand, exponents = (1 << (15 - significand)) - 1;
  const int exponent = static_cast<int>(bits >> significand) & exponents;
  const double fraction = static_cast<double>(bits & ((1u << significand) - 1)), sign = bits & 0x8000u ? -1.0 : 1.0;
  if (exponent == exponents) return fraction != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  const double whole = exponent == 0 ? fraction : fraction + (1 << significand);
  return sign * std::ldexp(whole, std::max(exponent, 1) - 1 + Format<T>::kLeastExponent - significand);
}

// The nearest representable value, by scaling so that the unit in the last place is 1.
template <class T>
double nearest(double x) {
  if (!std::isfinite(x) || x == 0) return x;
  const int unit = std::max(std::ilogb(x), Format<T>::kLeastExponent) - Format<T>::kSignificand;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);  // the default mode: ties to even
  const double largest = meaning<T>((0x7fffu >> Format<T>::kSignificand << Format<T>::kSignificand) - 1);
  return std::abs(rounded) > largest ? std::copysign(std::numeric_limits<double>::infinity(), x) : rounded;
}

template <class T>
void expect_nearest(float x) {
  const float got = T(x);
  if (std::isnan(x)) {
    EXPECT_TRUE(std::isnan(got));
    return;
  }
  EXPECT_EQ(static_cast<double>(got), nearest<T>(x)) << "from " << fmt::format("{:a}", x);
  EXPECT_EQ(std::signbit(got), std::signbit(x)) << "from " << fmt::format("{:a}", x);
}

template <class T>
struct HalfFloat : ::testing::Test {};
using HalfFloats = ::testing::Types<bf16, f16>;
TYPED_TEST_SUITE(HalfFloat, HalfFloats);

TYPED_TEST(HalfFloat, EveryPatternHasItsMeaningAndSurvivesTheRoundTrip) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = from_bits<TypeParam>(bits);
    const double expected = meaning<TypeParam>(bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(static_cast<float>(TypeParam(value)))) << bits;
      continue;
    }
    ASSERT_EQ(static_cast<double>(value), expected) << bits;
    ASSERT_EQ(TypeParam(value).bits, bits);
  }
}

TYPED_TEST(HalfFloat, EveryMidpointGoesToTheEvenNeighbourAndItsOwnNeighboursToTheNearer) {
  constexpr unsigned infinity = 0x7fffu >> Format<TypeParam>::kSignificand << Format<TypeParam>::kSignificand;
  for (const unsigned sign : {0u, 0x8000u})
    for (unsigned low = 0; low < infinity; ++low) {
      const double a = meaning<TypeParam>(sign | low);
      // The step past the largest finite number is as wide as the one before it.
      const double b =
          low + 1 < infinity ? meaning<TypeParam>(sign | (low + 1)) : a + (a - meaning<TypeParam>(sign | (low - 1)));
      const auto middle = static_cast<float>((a + b) / 2);
      ASSERT_EQ(static_cast<double>(middle), (a + b) / 2);  // representable, or this test would test nothing
      const unsigned even = low % 2 == 0 ? low : low + 1;
      ASSERT_EQ(TypeParam(middle).bits, sign | even) << fmt::format("{:a}", middle);
      ASSERT_EQ(TypeParam(std::nextafterf(middle, static_cast<float>(a))).bits, sign | low)
          << fmt::format("{:a}", middle);
      ASSERT_EQ(TypeParam(std::nextafterf(middle, sign ? -HUGE_VALF : HUGE_VALF)).bits, sign | (low + 1))
          << fmt::format("{:a}", middle);
    }
}

TYPED_TEST(HalfFloat, AnyFloatGoesToTheNearest) {
  for_cases(1000, [](Rng& rng) {
    for (int i = 0; i < 1000; ++i)
      expect_nearest<TypeParam>(std::bit_cast<float>(static_cast<std::uint32_t>(rng.word())));
    for (int i = 0; i < 1000; ++i)  // where f16 has its range, which uniform bits seldom hit
      expect_nearest<TypeParam>(static_cast<float>(std::ldexp(rng.uniform(-2, 2), rng.in(-30, 18))));
  });
}

TEST(HalfFloat, ExtremesOfFloat) {
  for (const float x :
       {0.0f, -0.0f, std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(),
        std::numeric_limits<float>::min(), std::numeric_limits<float>::denorm_min(), 65504.0f, 65519.996f, 65520.0f,
        0x1p-24f, 0x1p-25f, 0x1.000002p-25f, HUGE_VALF, -HUGE_VALF, std::nanf("")}) {
    expect_nearest<bf16>(x);
    expect_nearest<f16>(x);
  }
  // A NaN whose payload lives in the low half must not become infinity when that half is cut off.
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(static_cast<float>(f16(std::bit_cast<float>(0xff800001u)))));
}

TEST(HalfFloat, ConversionsAreConstantExpressions) {
  static_assert(bf16(1.0f).bits == 0x3f80 && static_cast<float>(bf16(-2.5f)) == -2.5f);
  static_assert(f16(1.0f).bits == 0x3c00 && static_cast<float>(f16(0x1p-24f)) == 0x1p-24f);
  static_assert(f16(1e6f).bits == 0x7c00 && f16(-1e6f).bits == 0xfc00);
}

TEST(DTypes, NamesSizesAndTypesAgree) {
  static_assert(dtype_of<const float> == DType::F32 && dtype_of<bf16> == DType::BF16 && dtype_of<bool> == DType::Bool);
  static_assert(sizeof(bf16) == 2 && sizeof(f16) == 2);
  const std::pair<DType, std::pair<std::string_view, int>> all[] = {
      {DType::F64, {"F64", 8}},  {DType::F32, {"F32", 4}}, {DType::BF16, {"BF16", 2}}, {DType::F16, {"F16", 2}},
      {DType::I64, {"I64", 8}},  {DType::I32, {"I32", 4}}, {DType::I16, {"I16", 2}},   {DType::I8, {"I8", 1}},
      {DType::U64, {"U64", 8}},  {DType::U32, {"U32", 4}}, {DType::U16, {"U16", 2}},   {DType::U8, {"U8", 1}},
      {DType::Bool, {"BOOL", 1}}};
  for (const auto& [dtype, expected] : all) {
    EXPECT_EQ(name_of(dtype), expected.first);
    EXPECT_EQ(size_of(dtype), expected.second);
    EXPECT_EQ(is_float(dtype), expected.first.find('F') != std::string_view::npos);
  }
}

}  // namespace
}  // namespace fovea
