// The contract: on random problems of every kind, every kernel of this machine is within the error bound of the
// reference.
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

/// The worst ratios of observed to allowed error, the constants apart: what B must be, for out and for lse.
struct Worst {
  double out = 0, lse = 0;
};

double needed(double error, double own, double rest) {
  return error <= own ? 0 : rest > 0 ? (error - own) / rest : kInf;
}

void measure(const Answer& got, const Truth& truth, DType out, Worst* worst) {
  const Answer& want = truth.answer;
  for (std::size_t i = 0; i < want.out.size(); ++i) {
    const double error = std::abs(got.out[i] - want.out[i]);
    if (std::isnan(error)) continue;
    const double own = kA * unit_roundoff(out) * std::abs(want.out[i]) + truth.underflow(i, out);
    const double rest = kEpsAcc * truth.reach[i / static_cast<std::size_t>(want.value_dim)] * truth.spread[i];
    worst->out = std::max(worst->out, needed(error, own, rest));
  }
  for (std::size_t r = 0; r < want.lse.size(); ++r) {
    if (!std::isfinite(want.lse[r])) continue;
    const double error = std::abs(got.lse[r] - want.lse[r]);
    worst->lse = std::max(worst->lse, needed(error, kA * kEpsAcc * std::abs(want.lse[r]), kEpsAcc * truth.reach[r]));
  }
}

/// Holds `count` random cases to the bound; prints how much of B they needed.
void hold(int count, const Choice& choice, const std::function<void(Rng&, Case&)>& change = {}) {
  std::map<std::string, Worst> worst;
  for_cases(count, [&](Rng& rng) {
    Case c = random_case(rng, choice);
    if (change) change(rng, c);
    const Truth truth(c);
    for (const std::string& isa : settings(c)) {
      const UseIsa use(isa);
      const Attention a = c.attend();
      ASSERT_EQ(a.out.dtype(), c.out_dtype());
      const Answer got = answer_of(c, a, truth);
      measure(got, truth, a.out.dtype(),
              &worst[fmt::format("{} {}→{}", a.kernel(), name_of(c.q.view.dtype), name_of(a.out.dtype()))]);
      ASSERT_TRUE(within_bound(got, truth)) << c.str();
    }
  });
  if (!std::getenv("FOVEA_CALIBRATE")) return;
  for (const auto& [what, w] : worst) fmt::print("  {:34} B needed: out {:.3f}, lse {:.3f}\n", what, w.out, w.lse);
}

TEST(Contract, HoldsOnEveryKindOfProblem) { hold(6000, {}); }
TEST(Contract, HoldsOnLongRows) {
  Choice choice;
  choice.most = 700, choice.work = 4e5, choice.batches = 1;
  hold(150, choice, [](Rng& rng, Case& c) {
    if (!c.q_ends.empty() || !c.kv_lengths.empty() || c.mask_name != "everything()" || c.score_name != "identity")
      return;
    const std::int64_t keys = rng.in(1000, 3000);  // the mask and the score know nothing of sizes: more keys may follow
    Input k(c.k.view.dtype, {c.batches(), keys, c.kv_heads(), c.head_dim()}),
        v(c.k.view.dtype, {c.batches(), keys, c.kv_heads(), c.value_dim()});
    k.fill([&](auto...) { return rng.normal(); }), v.fill([&](auto...) { return rng.normal() + 1; });
    c.k = k, c.v = v;
  });
}
TEST(Contract, HoldsForLogitsOfTenThousand) {
  Choice choice;
  choice.work = 20'000;
  hold(1000, choice, [](Rng& rng, Case& c) {
    double most = 1e-9;  // of |q·k|
    for (int b = 0; b < c.batches(); ++b)
      for (int h = 0; h < c.heads(); ++h)
        for (int q = 0; q < c.queries(); ++q)
          for (int j = 0; j < c.keys(); ++j) {
            double dot = 0;
            for (int d = 0; d < c.head_dim(); ++d)
              dot += c.q.get(b, q, h, d) * c.k.get(b, j, h / (c.heads() / c.kv_heads()), d);
            most = std::max(most, std::abs(dot));
          }
    c.scale = rng.pick({1.0, -1.0}) * 1e4 / most;
  });
}
// Where the reference itself runs: the inputs are F64, and so is the tolerance.
TEST(Contract, HoldsInDouble) {
  Choice choice;
  choice.dtypes = {DType::F64};
  for_cases(600, [&](Rng& rng) {
    Case c = random_case(rng, choice);
    c.output.reset();
    const Truth truth(c);
    const Attention a = c.attend();
    ASSERT_EQ(a.out.dtype(), DType::F64);
    ASSERT_EQ(a.kernel(), "reference");
    for (std::size_t i = 0; i < truth.answer.out.size(); ++i)
      ASSERT_TRUE(close({a.out.data<double>()[i], 0}, {truth.answer.out[i], truth.answer.out_tol[i]}))
          << i << ' ' << c.str();
  });
}
TEST(Contract, NarrowInputsMayGiveADoubleAndBack) {
  Choice choice;
  choice.work = 5000;
  for_cases(300, [&](Rng& rng) {
    Case c = random_case(rng, choice);
    c.output = DType::F64;
    const Truth truth(c);
    const Attention a = c.attend();
    ASSERT_EQ(a.out.dtype(), DType::F64);
    for (std::size_t i = 0; i < truth.answer.out.size(); ++i)
      ASSERT_TRUE(close({a.out.data<double>()[i], 0}, {truth.answer.out[i], truth.answer.out_tol[i]}))
          << i << ' ' << c.str();
  });
}

}  // namespace
}  // namespace fovea
