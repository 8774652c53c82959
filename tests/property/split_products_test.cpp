// Products of f32 numbers in parts of bf16: as exact as products of f32, over the whole range of floats.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr float kMost = std::numeric_limits<float>::max();

/// Numbers [1, time, 1, dim] of f().
template <class F>
Tensor tensor(std::int64_t time, std::int64_t dim, F f) {
  Tensor t(DType::F32, {1, time, 1, dim});
  for (std::int64_t i = 0; i < time * dim; ++i) t.data<float>()[i] = f(i);
  return t;
}

/// Root of the mean square of a's error, by the float64 reference.
double error_of(const Attention& a, const Attention& truth) {
  double sum = 0;
  const std::int64_t n = a.out.shape().elements();
  for (std::int64_t i = 0; i < n; ++i) {
    const double e = static_cast<double>(a.out.data<float>()[i]) - truth.out.data<double>()[i];
    sum += e * e;
  }
  return std::sqrt(sum / static_cast<double>(n));
}

TEST(SplitProducts, AreAsExactAsThoseOfF32) {
  double split = 0, plain = 0;
  for_cases(12, [&](Rng& rng) {
    const auto normal = [&](std::int64_t) { return static_cast<float>(rng.normal()); };
    const std::int64_t dim = rng.pick({32, 40, 64, 128}), keys = rng.in(100, 2000);
    const Tensor q = tensor(40, dim, normal), k = tensor(keys, dim, normal), v = tensor(keys, dim, normal);
    const Attention truth = attend(q, k, v, output(DType::F64), kernel("reference"));
    const double s = error_of(attend(q, k, v, kernel("flash_amx_f32_emulated")), truth),
                 p = error_of(attend(q, k, v, kernel("flash_scalar")), truth);
    split += s * s, plain += p * p;
  });
  EXPECT_LE(std::sqrt(split), std::sqrt(plain));
  EXPECT_GT(split, 0);
}

/// The greatest floats round to infinity in bf16; their first part must not.
TEST(SplitProducts, HoldTheGreatestFloats) {
  const auto one = [](std::int64_t) { return 1.0f; };
  const auto most = [](std::int64_t i) { return i % 2 ? -kMost : kMost; };
  const auto small = [](std::int64_t i) { return i % 2 ? -0x1p-100f : 0x1p-100f; };
  const Tensor ones = tensor(40, 32, one), q = tensor(40, 32, most), k = tensor(3, 32, small);
  on_every_isa([&] {
    const Attention same = attend(ones, tensor(1, 32, one), tensor(1, 32, most));
    for (int i = 0; i < 40 * 32; ++i) ASSERT_EQ(same.out.data<float>()[i], most(i)) << same.kernel();
    const Attention a = attend(q, k, tensor(3, 32, one), scale(0x1p-30));
    EXPECT_NEAR(a.lse.data<float>()[0], 32 * 0.25 + std::log(3.0), 1e-5) << a.kernel();
  });
}

/// A score of −∞ from an infinite key hides that key, and no other score is touched.
TEST(SplitProducts, OfAnInfiniteKeyAreThoseOfF32) {
  for_cases(20, [](Rng& rng) {
    const auto positive = [&](std::int64_t) { return static_cast<float>(std::abs(rng.normal())) + 0.1f; };
    const Tensor q = tensor(40, 24, positive), k = tensor(130, 24, positive), v = tensor(130, 24, positive);
    const std::int64_t gone = rng.below(130);
    Tensor infinite = k.to(DType::F64).to(DType::F32);
    infinite.data<float>()[gone * 24 + rng.below(24)] = -HUGE_VALF;
    const auto others = mask([gone](Site s) { return s.key != gone; });
    on_every_isa([&] { EXPECT_TRUE(same_bits(attend(q, infinite, v), attend(q, k, v, others))); });
  });
}

}  // namespace
}  // namespace fovea
