// What can be asked of a result: rows of weights, the sink's share, an output without one edge, and how far the shown
// weights are from what the kernel really produced.
#include <gtest/gtest.h>

#include "core/convert.hpp"
#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 800;

Choice small() {
  Choice choice;
  choice.work = 15'000;
  return choice;
}
/// A weight is e^(s − lse): it is off by what s, lse and the exponential are off by, relative to itself.
double weight_bound(const Truth& truth, std::size_t row, double weight) {
  if (std::isinf(truth.answer.lse[row])) return 0;  // nothing is seen, and every weight is 0
  return 4 * kEpsAcc * (truth.b * truth.reach[row] + std::abs(truth.answer.lse[row])) * weight + 0x1p-125;
}
struct Asked {
  int batch, head, query;
  std::size_t row;
  reference::ScoredRow want;
};

/// Calls f for a few rows of the case, under each instruction set.
template <class F>
void ask(Rng& rng, const Case& c, F f) {
  const CaseProblem problem(c);
  const Truth truth(c);
  const std::uint64_t stream = rng.word();
  on_every_isa([&] {
    const Attention a = c.attend();
    Rng rows(stream);
    for (int i = 0; i < 4 && !::testing::Test::HasFatalFailure(); ++i) {
      const int b = rows.below(std::max(problem.p.batches, 1)), h = rows.below(c.heads());
      if (problem.p.batches == 0 || problem.p.queries_of(b) == 0) continue;
      const int q = rows.below(problem.p.queries_of(b));
      const auto [at_b, at_t] = problem.place(b, q);
      f(a, truth, problem.p, Asked{b, h, q, truth.answer.row(at_b, at_t, h), reference::row(problem.p, b, h, q)});
    }
  });
}

TEST(Weights, AreTheReferencesAndSumToOneWithTheSink) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, small());
    ask(rng, c, [&](const Attention& a, const Truth& truth, const Problem&, const Asked& at) {
      const std::vector<float> got = a.weights({.batch = at.batch, .head = at.head, .query = at.query});
      ASSERT_EQ(got.size(), at.want.weight.size()) << c.str();
      double sum = 0, allowed = 0;
      for (std::size_t j = 0; j < got.size(); ++j) {
        const double bound = weight_bound(truth, at.row, at.want.weight[j]);
        ASSERT_NEAR(static_cast<double>(got[j]), at.want.weight[j], bound)
            << a.kernel() << " key " << j << ' ' << c.str();
        ASSERT_TRUE(at.want.score[j] != -kInf || got[j] == 0) << "hidden key " << j;
        sum += static_cast<double>(got[j]), allowed += bound;
      }
      const double sink = static_cast<double>(a.sink_weight({.batch = at.batch, .head = at.head, .query = at.query}));
      const double sink_bound = weight_bound(truth, at.row, at.want.sink);
      ASSERT_NEAR(sink, at.want.sink, sink_bound) << a.kernel() << ' ' << c.str();
      const bool sees_something = at.want.lse != -kInf;
      ASSERT_NEAR(sum + sink, sees_something ? 1.0 : 0.0, allowed + sink_bound) << a.kernel() << ' ' << c.str();
    });
  });
}

TEST(Weights, OfManyRowsAreThoseOfEachRow) {
  for_cases(kCases / 2, [](Rng& rng) {
    Choice choice = small();
    choice.most = 700, choice.work = 40'000;
    const Case c = random_case(rng, choice);
    const CaseProblem problem(c);
    if (problem.p.batches == 0) return;
    const int b = rng.below(problem.p.batches), h = rng.below(c.heads()), keys = problem.p.keys_of(b);
    const int begin = rng.in(0, problem.p.queries_of(b)), end = rng.in(begin, problem.p.queries_of(b));
    on_every_isa([&] {
      const Attention a = c.attend();
      const std::vector<float> rows = a.weights(b, h, {begin, end});
      ASSERT_EQ(rows.size(), static_cast<std::size_t>(end - begin) * static_cast<std::size_t>(keys));
      for (int q = begin; q < end; ++q) {
        const std::vector<float> row = a.weights({.batch = b, .head = h, .query = q});
        for (std::size_t j = 0; j < row.size(); ++j)
          ASSERT_EQ(row[j], rows[static_cast<std::size_t>(q - begin) * row.size() + j])
              << a.kernel() << " query " << q << " key " << j << ' ' << c.str();
      }
    });
  });
}

TEST(Weights, TimesValuesAreTheOutput) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, small());
    ask(rng, c, [&](const Attention& a, const Truth& truth, const Problem& p, const Asked& at) {
      double allowed = 0;
      for (int d = 0; d < p.value_dim; ++d) {
        const std::size_t i = at.row * static_cast<std::size_t>(p.value_dim) + static_cast<std::size_t>(d);
        allowed = std::max(allowed, truth.out_bound(i, a) + weight_bound(truth, at.row, 1) * truth.spread[i]);
      }
      const double error = a.max_abs_error({.batch = at.batch, .head = at.head, .query = at.query});
      ASSERT_LE(error, allowed) << a.kernel() << ' ' << c.str();
      // The proof must be able to fail: weights that are not this row's are found out.
      std::vector<float> wrong = a.weights({.batch = at.batch, .head = at.head, .query = at.query});
      if (wrong.empty() || p.value_dim == 0) return;
      const auto top = std::max_element(wrong.begin(), wrong.end());
      const float weight = *top;
      *top = 0;
      double largest = 0;
      const std::int64_t v = p.v_offset(at.batch, at.head / p.group(), static_cast<int>(top - wrong.begin()));
      for (int d = 0; d < p.value_dim; ++d)
        largest = std::max(largest, std::abs(load_element(p.v.dtype, p.v.data, v + d * p.v.dim)));
      ASSERT_GE(a.max_abs_error({.batch = at.batch, .head = at.head, .query = at.query}, wrong),
                static_cast<double>(weight) * largest - error - allowed);
    });
  });
}

TEST(Without, IsTheOutputOfTheProblemWithThatEdgeMasked) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, small());
    ask(rng, c, [&](const Attention& a, const Truth& truth, const Problem& p, const Asked& at) {
      if (at.want.weight.empty()) return;
      const int key = rng.below(static_cast<int>(at.want.weight.size()));
      const double weight = at.want.weight[static_cast<std::size_t>(key)], rest = 1 - weight;
      if (weight > 0 && rest < 1e-3) return;  // its only edge, nearly; see below
      const Attention::Edge edge{.batch = at.batch, .head = at.head, .query = at.query, .key = key};
      const std::vector<float> got = a.without(edge);
      Case cut = c;
      cut.mask = c.mask & mask([at, key](Site s) {
                   return s.batch != at.batch || s.head != at.head || s.query != at.query || s.key != key;
                 });
      const CaseProblem problem(cut);
      const std::vector<double> want =
          reference::output(problem.p, at.batch, at.head, reference::row(problem.p, at.batch, at.head, at.query));
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t d = 0; d < want.size(); ++d) {
        const std::size_t i = at.row * want.size() + d;
        const double v = std::abs(
            load_element(p.v.dtype, p.v.data,
                         p.v_offset(at.batch, at.head / p.group(), key) + static_cast<std::int64_t>(d) * p.v.dim));
        // (o − A·v) / (1 − A) of an o and an A within their bounds, the quotient's own rounding included.
        const double off = truth.out_bound(i, a) + weight_bound(truth, at.row, weight) * (v + std::abs(want[d])) +
                           weight_bound(truth, at.row, rest) * std::abs(want[d]);
        ASSERT_NEAR(static_cast<double>(got[d]), want[d], off / rest + kEpsAcc * std::abs(want[d]) + 1e-30)
            << a.kernel() << " key " << key << " weight " << weight << ' ' << c.str();
      }
    });
  });
}

TEST(Without, RefusesTheOnlyEdgeOfARow) {
  for_cases(100, [](Rng& rng) {
    Choice choice = small();
    choice.masks = choice.sinks = choice.lengths = choice.empty = false;
    Case c = random_case(rng, choice);
    const int query = rng.below(c.queries()), only = rng.below(c.keys());
    c.mask = mask([query, only](Site s) { return s.query != query || s.key == only; });
    on_every_isa([&] {
      const Attention a = c.attend();
      EXPECT_THROW(a.without({.query = query, .key = only}), Error);
      if (c.keys() > 1) {  // an edge that isn't there can be removed
        const std::vector<float> same = a.without({.query = query, .key = only == 0 ? 1 : 0});
        for (int d = 0; d < c.value_dim(); ++d) {
          const std::int64_t at = std::int64_t{query} * c.heads() * c.value_dim() + d;
          EXPECT_EQ(static_cast<double>(same[static_cast<std::size_t>(d)]),
                    load_element(a.out.dtype(), a.out.raw(), at));
        }
      }
    });
  });
}

}  // namespace
}  // namespace fovea
