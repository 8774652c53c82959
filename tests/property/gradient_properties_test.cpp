// The reference's backward pass: it is the oracle of every gradient to come, so it is held to differences of its own
// forward. Property 29 of the list.
#include <array>

#include <gtest/gtest.h>

#include "support/bound.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 400;

Case smooth_case(Rng& rng) {
  Choice choice;
  choice.dtypes = {DType::F64}, choice.most = 12, choice.work = 3000, choice.batches = 2, choice.sinks = true;
  Case c = random_case(rng, choice);
  while (!c.q_ends.empty()) c = random_case(rng, choice);  // gradients are dense: rows may end early, but not be packed
  c.output.reset();
  for (Input* x : {&c.q, &c.k, &c.v}) *x = x->copy_as(x->view.shape, contiguous_strides(x->view.shape), 0);
  return c;
}
Operand operand_of(const Input& x) {
  return {const_cast<void*>(x.view.data),
          x.view.dtype,
          x.view.strides[0],
          x.view.strides[1],
          x.view.strides[2],
          x.view.strides[3]};
}
Input random_like(Rng& rng, std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) {
  Input x(DType::F64, {b, t, h, d});
  x.fill([&](auto...) { return rng.normal(); });
  return x;
}

struct Slope {
  Input Case::*of;
  const std::vector<double>* gradient;
  const char* name;
};
std::array<Slope, 3> slopes_of(const reference::Gradients& g) {
  return {{{&Case::q, &g.dq, "dq"}, {&Case::k, &g.dk, "dk"}, {&Case::v, &g.dv, "dv"}}};
}

/// Σ out ∘ dout in float64, with each of `sinks` as given.
double objective(const Case& c, const Input& dout) {
  const CaseProblem problem(c);
  const Problem& p = problem.p;
  double sum = 0;
  for (int b = 0; b < p.batches; ++b)
    for (int h = 0; h < p.heads; ++h)
      for (int q = 0; q < p.queries_of(b); ++q) {
        const std::vector<double> o = reference::output(p, b, h, reference::row(p, b, h, q));
        for (int d = 0; d < p.value_dim; ++d) sum += o[static_cast<std::size_t>(d)] * dout.get(b, q, h, d);
      }
  return sum;
}
/// c with x moved by `step` along `direction`.
Case moved(const Case& c, Input Case::*which, const Input& direction, double step) {
  Case m = c;
  m.*which = (c.*which).copy();
  (m.*which).fill(
      [&](auto b, auto t, auto h, auto d) { return (c.*which).get(b, t, h, d) + step * direction.get(b, t, h, d); });
  return m;
}
double dot(const std::vector<double>& gradient, const Input& direction) {
  double sum = 0;
  std::size_t i = 0;
  for (std::int64_t b = 0; b < direction.view.shape[0]; ++b)
    for (std::int64_t t = 0; t < direction.view.shape[1]; ++t)
      for (std::int64_t h = 0; h < direction.view.shape[2]; ++h)
        for (std::int64_t d = 0; d < direction.view.shape[3]; ++d) sum += gradient[i++] * direction.get(b, t, h, d);
  return sum;
}
/// f'(0) by central differences, two steps extrapolated (Richardson): the error is of order step⁴.
template <class F>
double slope_of(F f) {
  constexpr double kStep = 1e-3;
  const double coarse = (f(kStep) - f(-kStep)) / (2 * kStep), fine = (f(kStep / 2) - f(-kStep / 2)) / kStep;
  return (4 * fine - coarse) / 3;
}

TEST(Backward, IsTheSlopeOfForwardInEveryDirection) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = smooth_case(rng);
    const Input dout = random_like(rng, c.batches(), c.queries(), c.heads(), c.value_dim());
    const CaseProblem problem(c);
    const reference::Gradients g = reference::backward(problem.p, operand_of(dout));
    for (const auto& [which, gradient, name] : slopes_of(g)) {
      const Shape& s = (c.*which).view.shape;
      Input direction = random_like(rng, s[0], s[1], s[2], s[3]);
      // The third derivative grows with the cube of how fast logits move: keep the longest direction short.
      direction.fill([&, which = which](auto b, auto t, auto h, auto d) {
        return direction.get(b, t, h, d) * (which == &Case::v ? 1.0 : 0.1);
      });
      const double want =
          slope_of([&, which = which](double step) { return objective(moved(c, which, direction, step), dout); });
      const double got = dot(*gradient, direction);  // ⟨dO, J·δ⟩ = ⟨Jᵀ·dO, δ⟩
      ASSERT_NEAR(got, want, 1e-6 * std::max(1.0, std::abs(want))) << name << ' ' << c.str();
    }
  });
}

TEST(Backward, IsTheSlopeOfForwardInEveryElement) {
  for_cases(kCases / 8, [](Rng& rng) {
    Case c = smooth_case(rng);
    if (c.queries() * c.keys() * c.head_dim() > 300) return;
    const Input dout = random_like(rng, c.batches(), c.queries(), c.heads(), c.value_dim());
    const CaseProblem problem(c);
    const reference::Gradients g = reference::backward(problem.p, operand_of(dout));
    for (const auto& [which, gradient, name] : slopes_of(g)) {
      const Shape s = (c.*which).view.shape;
      for (std::int64_t i = 0; i < s.elements(); ++i) {
        Input direction(DType::F64, s);
        std::int64_t n = 0;
        direction.fill([&](auto...) { return n++ == i ? 1.0 : 0.0; });
        const double want =
            slope_of([&, which = which](double step) { return objective(moved(c, which, direction, step), dout); });
        ASSERT_NEAR((*gradient)[static_cast<std::size_t>(i)], want, 1e-6 * std::max(1.0, std::abs(want)))
            << name << ' ' << i << ' ' << c.str();
      }
    }
  });
}

TEST(Backward, OfSinksIsTheSlopeToo) {
  for_cases(kCases, [](Rng& rng) {
    Case c = smooth_case(rng);
    c.sinks.clear();
    for (int h = 0; h < c.heads(); ++h) c.sinks.push_back(static_cast<float>(rng.in(-32, 32)) / 8);
    const Input dout = random_like(rng, c.batches(), c.queries(), c.heads(), c.value_dim());
    const CaseProblem problem(c);
    const reference::Gradients g = reference::backward(problem.p, operand_of(dout));
    const int head = rng.below(c.heads());
    // Sinks are floats: steps of 2^-10 are exact.
    const double want = slope_of([&](double step) {
                          Case m = c;
                          m.sinks[static_cast<std::size_t>(head)] += static_cast<float>(step * 1000 / 1024);
                          return objective(m, dout);
                        }) *
                        1024 / 1000;
    ASSERT_NEAR(g.dsink[static_cast<std::size_t>(head)], want, 1e-6 * std::max(1.0, std::abs(want))) << c.str();
  });
}

/// A score with numbers of its own, multiples of 1/64, so that they and their neighbours are exact in float.
struct Learnt {
  float cap;
  std::vector<float> slopes;
  Tensor values;
  bool cap_first;
  AnyScore score() const {
    const AnyScore capped = softcap(cap), rest = AnyScore(alibi(slopes)) | AnyScore(bias(values));
    return cap_first ? capped | rest : rest | capped;
  }
};

TEST(Backward, OfTheNumbersInsideAScoreIsTheSlopeToo) {
  constexpr double kStep = 1.0 / 64;
  for_cases(kCases / 4, [](Rng& rng) {
    Case c = smooth_case(rng);
    const auto some = [&](int n) { return rng.chance(0.5) ? n : 1; };
    Learnt learnt{static_cast<float>(rng.in(64, 400)) / 64, {}, {}, rng.chance(0.5)};
    learnt.values = Tensor(DType::F32, {some(c.batches()), some(c.heads()), some(c.queries()), some(c.keys())});
    for (int h = 0; h < c.heads(); ++h) learnt.slopes.push_back(static_cast<float>(rng.in(-10, 10)) / 64);
    for (float& x : learnt.values.values<float>()) x = static_cast<float>(rng.in(-64, 64)) / 64;
    c.score = learnt.score();
    if (c.queries() == 0 || c.keys() == 0) return;
    const Input dout = random_like(rng, c.batches(), c.queries(), c.heads(), c.value_dim());
    c.output.reset();
    const Gradients g = backward(c.attend(), dout.view, Wanted::InputsAndScore);
    ASSERT_EQ(g.score.size(), 3u);
    const auto check = [&](const char* name, std::size_t i, auto number) {
      const auto at = [&](double steps) {
        Learnt moved = learnt;
        moved.values = learnt.values.clone();
        number(moved) += static_cast<float>(steps * kStep);
        Case there = c;
        there.score = moved.score();
        return objective(there, dout);
      };
      const double want = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * kStep);
      const auto found = std::ranges::find(g.score, name, &ScoreGradient::name);
      ASSERT_NE(found, g.score.end());
      ASSERT_NEAR(found->value.values<float>()[i], want, 3e-5 * (1 + std::abs(want))) << name << ' ' << c.str();
    };
    check("softcap", 0, [](Learnt& l) -> float& { return l.cap; });
    const auto h = static_cast<std::size_t>(rng.below(c.heads()));
    check("alibi", h, [h](Learnt& l) -> float& { return l.slopes[h]; });
    const auto i = static_cast<std::size_t>(rng.below(static_cast<int>(learnt.values.elements())));
    check("bias", i, [i](Learnt& l) -> float& { return l.values.values<float>()[i]; });
  });
}

TEST(Backward, ScoreGradientsOfARowSumToNothing) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = smooth_case(rng);
    const CaseProblem problem(c);
    const Input dout = random_like(rng, c.batches(), c.queries(), c.heads(), c.value_dim());
    std::vector<double> sums(static_cast<std::size_t>(c.batches() * c.heads() * c.queries()));
    std::vector<double> sizes(sums.size());
    const reference::Gradients g =
        reference::backward(problem.p, operand_of(dout), [&](const Site& s, double, double ds) {
          const auto row = static_cast<std::size_t>((s.batch * c.heads() + s.head) * c.queries() + s.query);
          sums[row] += ds, sizes[row] += std::abs(ds);
        });
    double all = 0, size = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      all += sums[i], size += sizes[i];
      if (!c.sinks.empty()) continue;  // the sink is one more column
      ASSERT_NEAR(sums[i], 0, 1e-13 * (1 + sizes[i])) << c.str();
    }
    for (const double ds : g.dsink) all += ds, size += std::abs(ds);
    ASSERT_NEAR(all, 0, 1e-12 * (1 + size)) << c.str();
  });
}

}  // namespace
}  // namespace fovea
