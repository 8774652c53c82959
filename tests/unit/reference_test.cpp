// The specification itself, against numbers worked out by hand: everything else is held to it.
#include "kernels/reference/reference.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include <fovea/attention.hpp>

namespace fovea {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// One batch row, one head, head_dim 1: score of query i and key j is scale · q_i · k_j, and the values are what they
/// are.
struct Tiny {
  Tiny(std::vector<double> queries, std::vector<double> keys, std::vector<double> values)
      : q(std::move(queries)), k(std::move(keys)), v(std::move(values)) {}
  std::vector<double> q, k, v;
  AnyMask mask;
  AnyScore score;
  std::vector<float> sinks;
  double scale = 1;

  Problem problem() {
    Problem p;
    const auto rows = [](std::vector<double>& x) { return Operand{x.data(), DType::F64, 0, 1, 1, 1}; };
    p.q = rows(q), p.k = rows(k), p.v = rows(v);
    p.batches = p.heads = p.kv_heads = p.head_dim = p.value_dim = 1;
    p.queries = static_cast<int>(q.size()), p.keys = static_cast<int>(k.size());
    p.scale = scale;
    p.mask = mask.view(), p.score = score.view();
    p.sinks = sinks.empty() ? nullptr : sinks.data();
    return p;
  }
};

TEST(Reference, IsTheSoftmaxOfTheScores) {
  Tiny t{{std::log(2.0)}, {0, 1, 2}, {10, 20, 40}};  // weights 1 : 2 : 4
  const reference::ScoredRow r = reference::row(t.problem(), 0, 0, 0);
  EXPECT_NEAR(r.weight[0], 1.0 / 7, 1e-15);
  EXPECT_NEAR(r.weight[2], 4.0 / 7, 1e-15);
  EXPECT_NEAR(r.lse, std::log(7.0), 1e-15);
  EXPECT_NEAR(reference::output(t.problem(), 0, 0, r)[0], (10 + 40 + 160) / 7.0, 1e-13);
}
TEST(Reference, ScalesThenScoresThenMasks) {
  Tiny t{{4}, {1, 2, 3}, {1, 2, 3}};
  t.scale = 0.5, t.score = score([](auto s, Site) { return s * s; }), t.mask = mask([](Site s) { return s.key != 1; });
  const reference::ScoredRow r = reference::row(t.problem(), 0, 0, 0);
  EXPECT_EQ(r.score, (std::vector<double>{4, -kInf, 36}));
  EXPECT_EQ(r.weight[1], 0);
}
TEST(Reference, SinksTakeWeightAndGiveNoValue) {
  Tiny t{{0}, {0, 0}, {6, 12}};
  t.sinks = {0};
  const reference::ScoredRow r = reference::row(t.problem(), 0, 0, 0);
  EXPECT_NEAR(r.sink, 1.0 / 3, 1e-15);
  EXPECT_NEAR(r.lse, std::log(3.0), 1e-15);
  EXPECT_NEAR(reference::output(t.problem(), 0, 0, r)[0], 6, 1e-14);
  t.mask = mask([](Site) { return false; });
  EXPECT_EQ(reference::row(t.problem(), 0, 0, 0).sink, 1);
  EXPECT_EQ(reference::row(t.problem(), 0, 0, 0).lse, 0);
}
TEST(Reference, AnEmptyRowIsZeroAndMinusInfinity) {
  Tiny t{{1}, {std::nan(""), 2}, {kInf, std::nan("")}};
  t.mask = mask([](Site) { return false; });
  const reference::ScoredRow r = reference::row(t.problem(), 0, 0, 0);
  EXPECT_EQ(r.lse, -kInf);
  EXPECT_EQ(r.weight, (std::vector<double>{0, 0}));
  EXPECT_EQ(reference::output(t.problem(), 0, 0, r)[0], 0);
}
TEST(Reference, AVisibleNaNIsNotSwallowedWhateverFollowsIt) {
  const float none = -std::numeric_limits<float>::infinity();
  const float last_hidden[3] = {0, 0, none}, all_but_first[3] = {0, none, none};
  for (const float* values : {last_hidden, all_but_first}) {
    Tiny t{{1}, {std::nan(""), 1, 2}, {1, 2, 3}};
    t.score = bias(TensorView(DType::F32, values, {3}));
    const reference::ScoredRow r = reference::row(t.problem(), 0, 0, 0);
    EXPECT_TRUE(std::isnan(r.lse));
    EXPECT_TRUE(std::isnan(reference::output(t.problem(), 0, 0, r)[0]));
  }
}
TEST(Reference, ScoresOfTenThousandDontOverflow) {
  Tiny t{{1e4}, {1, 0.9999, -1}, {1, 2, 3}};
  const reference::ScoredRow r = reference::row(t.problem(), 0, 0, 0);
  const double share = 1 / (1 + std::exp(-1.0));
  EXPECT_NEAR(r.weight[0], share, 1e-12);
  EXPECT_NEAR(r.lse, 1e4 - std::log(share), 1e-11);
}
// o = Σ p v: of two keys with scores s and 0, o = σ(s) when v = (1, 0), and do/ds = σ(s)(1 − σ(s)).
TEST(Reference, BackwardOfTheLogisticFunction) {
  Tiny t{{0.7}, {1, 0}, {1, 0}};
  std::vector<double> dout = {1};
  const auto g = reference::backward(t.problem(), {dout.data(), DType::F64, 1, 1, 1, 1});
  const double p = 1 / (1 + std::exp(-0.7)), slope = p * (1 - p);
  EXPECT_NEAR(g.dq[0], slope, 1e-15);
  EXPECT_NEAR(g.dk[0], slope * 0.7, 1e-15);
  EXPECT_NEAR(g.dk[1], -slope * 0.7, 1e-15);
  EXPECT_NEAR(g.dv[0], p, 1e-15);
  EXPECT_NEAR(g.dv[1], 1 - p, 1e-15);
}

}  // namespace
}  // namespace fovea
