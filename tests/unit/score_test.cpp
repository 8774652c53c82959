// Scores: what each does to a logit, that float, double and slope are one formula, and that composition and erasure
// keep it.
#include <cmath>

#include <gtest/gtest.h>

#include <fovea/attention.hpp>
#include <fovea/cpu.hpp>

#include "support/parts.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr Site kSite{1, 2, 5, 3, 8, 8};

TEST(Scores, SoftCap) {
  const SoftCap s = softcap(50);
  EXPECT_DOUBLE_EQ(s(20.0, kSite), 50 * std::tanh(20.0 / 50));
  EXPECT_NEAR(s(1e9, kSite), 50.0, 1e-12);
  EXPECT_NEAR(static_cast<double>(s(-20.0f, kSite)), -50 * std::tanh(20.0 / 50), 1e-5);
  // In double it is double: 1/cap must not have been rounded to float on the way.
  EXPECT_NEAR(softcap(3)(2.0, kSite), 3 * std::tanh(2.0 / 3), 1e-15);
}
TEST(Scores, Alibi) {
  const Alibi s = alibi({0.1f, 0.2f, 0.5f});
  EXPECT_DOUBLE_EQ(s(1.0, kSite), 1.0 - 0.5 * 2);
  EXPECT_DOUBLE_EQ(s(1.0, Site{0, 2, 3, 5, 8, 8}), 1.0 - 0.5 * 2);  // the distance, whichever way
  EXPECT_DOUBLE_EQ(s(1.0, Site{0, 2, 0, 5, 1, 8}), 1.0 - 0.5 * 2);  // the only query stands on key 7
  EXPECT_DOUBLE_EQ(alibi({0.5f}, top_left)(1.0, Site{0, 0, 0, 5, 1, 8}), 1.0 - 0.5 * 5);
}
TEST(Scores, AlibiSlopesAreThePapers) {
  EXPECT_EQ(alibi_slopes(8),
            (std::vector<float>{0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.015625f, 0.0078125f, 0.00390625f}));
  const std::vector<float> sixteen = alibi_slopes(16), twelve = alibi_slopes(12);
  EXPECT_FLOAT_EQ(sixteen[0], std::sqrt(0.5f));
  ASSERT_EQ(twelve.size(), 12u);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(twelve[i], alibi_slopes(8)[i]);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(twelve[8 + i], sixteen[2 * i]);  // every other one of the next power
  EXPECT_EQ(alibi_slopes(1), std::vector<float>{0.00390625f});
  EXPECT_TRUE(alibi_slopes(0).empty());
}
TEST(Scores, BiasReadsThroughStridesAndBroadcasts) {
  const float values[6] = {0, 1, 2, 3, 4, 5};
  EXPECT_EQ(bias(TensorView(DType::F32, values, {2, 3}))(10.0, Site{0, 0, 1, 2, 2, 3}), 15.0);
  EXPECT_EQ(bias(TensorView(DType::F32, values, {3, 2}, {1, 3}))(10.0, Site{0, 0, 2, 1, 3, 2}), 15.0);
  EXPECT_EQ(bias(TensorView(DType::F32, values, {6, 1, 1}))(10.0, Site{0, 4, 2, 1, 3, 2}), 14.0);
}
TEST(Scores, CompositionAppliesTheFirstFirst) {
  const auto half = score([](auto s, Site) { return s * 0.5; });
  EXPECT_DOUBLE_EQ((half | softcap(2))(3.0, kSite), 2 * std::tanh(1.5 / 2));
  EXPECT_DOUBLE_EQ((softcap(2) | half)(3.0, kSite), std::tanh(1.5));
  AnyScore any;
  EXPECT_EQ(any(3.0, kSite), 3.0);
  any = any | AnyScore(half);
  any = any | AnyScore(softcap(2));
  EXPECT_DOUBLE_EQ(any(3.0, kSite), 2 * std::tanh(1.5 / 2));
}
// Whatever stands on the other side: a tile goes through one loop after another, none of which asks the other by
// element.
TEST(Scores, WhatIsJoinedToARunTimeScoreIsAStageOfItsOwn) {
  const auto half = score([](auto s, Site) { return s * 0.5f; });
  const AnyScore stages = AnyScore(half) | AnyScore(softcap(2));
  const auto after = AnyScore(half) | softcap(2), before = half | AnyScore(softcap(2));
  static_assert(std::same_as<decltype(after), const AnyScore> && std::same_as<decltype(before), const AnyScore>);
  std::vector<float> want(64), logits(64);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i) / 8 - 4;
  const Tile tile{0, 0, {0, 1}, {0, 64}, 1, 64};
  for (const Isa isa : usable_isas()) {
    const ApplyTier tier = isa == Isa::Avx512 ? kApplyAvx512 : isa == Isa::Avx2 ? kApplyAvx2 : kApplyScalar;
    want = logits;
    stages.view().apply[tier](stages.view().self, {want.data(), 64, 1, tile});
    for (const AnyScore* joined : {&after, &before}) {
      std::vector<float> got = logits;
      joined->view().apply[tier](joined->view().self, {got.data(), 64, 1, tile});
      EXPECT_EQ(got, want) << name_of(isa);
    }
  }
}
TEST(Scores, ComplainOfWhatDoesntFit) {
  const float values[6] = {};
  const Extents e{1, 3, 4, 5};
  EXPECT_EQ(AnyScore(softcap(2) | alibi({1, 2, 3})).complaint(e), "");
  EXPECT_NE(AnyScore(softcap(2) | alibi({1, 2})).complaint(e).find("2 slopes for 3 heads"), std::string::npos);
  EXPECT_NE((AnyScore(softcap(2)) | AnyScore(bias(TensorView(DType::F32, values, {6}))))
                .complaint(e)
                .find("bias is [1, 1, 1, 6]"),
            std::string::npos);
  for (const float cap : {0.0f, -1.0f, std::nanf(""), HUGE_VALF})
    EXPECT_NE(AnyScore(softcap(cap)).complaint(e).find("softcap"), std::string::npos) << cap;
}

TEST(Tanh, IsWithin3e7EverywhereAndKeepsSignsAndNaN) {
  double worst = 0;
  const auto look = [&](float x) {
    const double want = std::tanh(static_cast<double>(x)), got = static_cast<double>(fovea::tanh(x));
    if (want != 0 && std::abs(x) > 1e-37f) worst = std::max(worst, std::abs(got - want) / std::abs(want));
  };
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 911)
    look(std::bit_cast<float>(bits)), look(std::bit_cast<float>(bits | 0x80000000u));
  for (std::uint32_t bits = std::bit_cast<std::uint32_t>(0.6f); bits < std::bit_cast<std::uint32_t>(0.65f); ++bits)
    look(std::bit_cast<float>(bits));
  EXPECT_LT(worst, 3e-7);
  EXPECT_EQ(fovea::tanh(0.0f), 0.0f);
  EXPECT_EQ(fovea::tanh(100.0f), 1.0f);
  EXPECT_EQ(fovea::tanh(-HUGE_VALF), -1.0f);
  EXPECT_TRUE(std::isnan(fovea::tanh(std::nanf(""))));
}

TEST(Duals, CarryTheSlope) {
  const Dual<double> x{3, 1};
  const auto expect = [](Dual<double> got, double value, double slope) {
    EXPECT_DOUBLE_EQ(got.value, value);
    EXPECT_DOUBLE_EQ(got.slope, slope);
  };
  expect(2 * x + 1, 7, 2);
  expect(1 - x, -2, -1);
  expect(x - 1, 2, 1);
  expect(x * x, 9, 6);
  expect((x + 1) / (x - 1), 2, -0.5);
  expect(-x / 4, -0.75, -0.25);
  expect(fovea::tanh(x), std::tanh(3.0), 1 - std::tanh(3.0) * std::tanh(3.0));
}

// The three instantiations of any composition: double, float within float's error, and a slope that is the difference
// quotient.
TEST(Scores, FloatDoubleAndSlopeAreOneFormula) {
  for_cases(3000, [](Rng& rng) {
    const Extents e{2, rng.in(1, 5), rng.in(1, 50), rng.in(1, 50)};
    Keep keep;
    const NamedScore s = random_score(rng, e, keep);
    const Site at{rng.below(2), rng.below(e.heads), rng.below(e.queries), rng.below(e.keys), e.queries, e.keys};
    const double x = rng.uniform(-20, 20);
    const double value = s.score(x, at);
    EXPECT_NEAR(static_cast<double>(s.score(static_cast<float>(x), at)), value, 1e-6 * (std::abs(x) + s.moves + 1))
        << s.name;
    const Dual<double> dual = s.score(Dual<double>{x, 1.0}, at);
    EXPECT_NEAR(dual.value, value, 1e-12 * (1 + std::abs(value))) << s.name;
    EXPECT_NEAR(dual.slope, (s.score(x + 1e-4, at) - s.score(x - 1e-4, at)) / 2e-4, 1e-6) << s.name;
    if (!s.score.view().self) return;
    EXPECT_EQ(s.score.view().value(s.score.view().self, x, at), value);
    EXPECT_EQ(s.score.view().slope(s.score.view().self, x, at).slope, dual.slope);
  });
}

// What a kernel calls: a tile in place, either stride 1, on every width of machine; and nothing beside the tile is
// touched.
TEST(Scores, TilesAreTheElementsOnEveryTier) {
  for_cases(1000, [](Rng& rng) {
    const Extents e{2, rng.in(1, 5), rng.in(1, 150), rng.in(1, 150)};
    Keep keep;
    const NamedScore s = random_score(rng, e, keep);
    const ScoreView view = s.score.view();
    if (!view.self) return;
    const int q = rng.below(e.queries), k = rng.below(e.keys);
    const int rows = std::min(e.queries - q, rng.in(1, kTileQueries)),
              keys = std::min(e.keys - k, rng.in(1, kTileKeys));
    const bool turned = rng.chance(0.5);
    const int stride = (turned ? rows : keys) + rng.in(0, 5);
    const Tile tile{rng.below(2), rng.below(e.heads), {q, q + rows}, {k, k + keys}, e.queries, e.keys};
    std::vector<float> logits(static_cast<std::size_t>(stride * (turned ? keys : rows)) + 3);
    for (float& x : logits) x = static_cast<float>(rng.uniform(-20, 20));
    const std::ptrdiff_t query_stride = turned ? 1 : stride, key_stride = turned ? stride : 1;
    for (const Isa isa : usable_isas()) {
      const ApplyTier tier = isa == Isa::Avx512 ? kApplyAvx512 : isa == Isa::Avx2 ? kApplyAvx2 : kApplyScalar;
      std::vector<float> got = logits;
      view.apply[tier](view.self, {got.data(), query_stride, key_stride, tile});
      std::vector<bool> inside(logits.size());
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < keys; ++j) {
          const auto at = static_cast<std::size_t>(i * query_stride + j * key_stride);
          inside[at] = true;
          const double want =
              s.score(static_cast<double>(logits[at]), Site{tile.batch, tile.head, q + i, k + j, e.queries, e.keys});
          ASSERT_NEAR(static_cast<double>(got[at]), want,
                      1e-6 * (std::abs(static_cast<double>(logits[at])) + s.moves + 1))
              << name_of(isa) << ' ' << s.name;
        }
      for (std::size_t i = 0; i < logits.size(); ++i)
        ASSERT_TRUE(inside[i] || got[i] == logits[i]) << "wrote beside the tile";
    }
  });
}

}  // namespace
}  // namespace fovea
