// What the forward pass gathers of rows is what the weights of the float64 reference say of them, and changes no bit of
// the output; tiles and single weights are parts of rows.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <span>

#include <gtest/gtest.h>

#include "kernels/reference/reference.hpp"
#include "support/relations.hpp"
#include "support/sanitized.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr double kLoose = 3e-5;

Choice wide() {
  Choice choice;
  choice.most = 400, choice.work = 30'000;
  return choice;
}

Attention gathered(const Case& c, int top) {
  AttentionSpec spec = c.spec();
  spec.statistics = statistics(top);
  return attend(c.q.view, c.k.view, c.v.view, spec);
}

/// f(batch row, head, place of its first row among all rows of lse) of each head.
template <class F>
void for_heads(const Case& c, const CaseProblem& problem, const Attention& a, F f) {
  for (int b = 0; b < problem.p.batches; ++b)
    for (int h = 0; h < c.heads() && problem.p.queries_of(b) > 0; ++h) {
      const auto [row, time] = problem.place(b, 0);
      f(b, h, static_cast<std::size_t>((std::int64_t{row} * c.heads() + h) * a.lse.shape()[2] + time));
    }
}

/// What a row's statistics are by their definitions, from the weights that the float64 reference writes down.
struct Defined {
  double entropy = 0, distance = 0, first = 0, max = -std::numeric_limits<double>::infinity();
  std::vector<double> segments, sorted;  // sorted: the weights, the greatest first
  Defined(const reference::ScoredRow& row, int query, std::span<const int> labels, int count)
      : segments(static_cast<std::size_t>(count)), sorted(row.weight) {
    if (row.sink > 0) entropy -= row.sink * std::log(row.sink);
    for (std::size_t j = 0; j < row.weight.size(); ++j) {
      const double a = row.weight[j];
      max = std::max(max, row.score[j]);
      if (a == 0) continue;
      entropy -= a * std::log(a), distance += a * std::abs(query - static_cast<double>(j));
      if (labels[j] >= 0) segments[static_cast<std::size_t>(labels[j])] += a;
    }
    if (!row.weight.empty()) first = row.weight[0];
    std::ranges::sort(sorted, std::greater<>{});
  }
};

TEST(RowStatistics, AreThoseOfTheReferenceAndChangeNoBit) {
  for_cases(400, [](Rng& rng) {
    const Case c = random_case(rng, wide());
    const CaseProblem problem(c);
    const Truth truth(c);
    const int top = rng.pick({0, 1, 8, 16}), count = rng.in(1, 3);
    std::vector<int> labels;  // of no segment, one of them, …, in runs and mixed
    for (int j = 0; j < problem.p.keys; ++j)
      labels.push_back(rng.chance(0.2) ? rng.in(-1, count - 1) : j * count / 500);
    if (!labels.empty()) labels[0] = count - 1;
    const int segments = labels.empty() ? 0 : std::ranges::max(labels) + 1;
    on_every_isa([&] {
      AttentionSpec spec = c.spec();
      spec.statistics = statistics(top, labels);
      const Attention a = attend(c.q.view, c.k.view, c.v.view, spec), plain = c.attend();
      ASSERT_TRUE(same_bits(a, plain)) << c.str();
      const auto value = [](const Tensor& t, std::size_t at) { return static_cast<double>(t.values<float>()[at]); };
      for_heads(c, problem, a, [&](int b, int h, std::size_t first) {
        const double furthest = std::max(problem.p.queries_of(b), problem.p.keys_of(b));
        for (int i = 0; i < problem.p.queries_of(b); ++i) {
          SCOPED_TRACE(std::string(a.kernel()) + " row " + std::to_string(i) + ' ' + c.str());
          const Defined want(reference::row(problem.p, b, h, i), i, labels, segments);
          const std::size_t at = first + static_cast<std::size_t>(i);
          const double off = kLoose + 4 * truth.lse_bound(at);  // a score's error is its weight's, relatively
          ASSERT_EQ(a.max.values<float>()[at], plain.max.values<float>()[at]);
          if (std::isinf(want.max))
            ASSERT_EQ(value(a.max, at), want.max);
          else
            ASSERT_NEAR(value(a.max, at), want.max, off * (1 + std::abs(want.max)));
          ASSERT_NEAR(value(a.rows.entropy, at), want.entropy, off * (1 + std::log(1 + furthest)));
          ASSERT_NEAR(value(a.rows.distance, at), want.distance, off * furthest);
          ASSERT_NEAR(value(a.rows.first, at), want.first, off);
          for (int g = 0; g < segments; ++g)
            ASSERT_NEAR(value(a.rows.segments, at * static_cast<std::size_t>(segments) + static_cast<std::size_t>(g)),
                        want.segments[static_cast<std::size_t>(g)], off);
        }
      });
    });
  });
}

TEST(RowStatistics, TheGreatestWeightsAreTheReferences) {
  for_cases(300, [](Rng& rng) {
    const Case c = random_case(rng, wide());
    const CaseProblem problem(c);
    const Truth truth(c);
    const auto top = static_cast<std::size_t>(rng.in(1, 16));
    on_every_isa([&] {
      const Attention a = gathered(c, static_cast<int>(top));
      for_heads(c, problem, a, [&](int b, int h, std::size_t first) {
        for (int i = 0; i < problem.p.queries_of(b); ++i) {
          SCOPED_TRACE(std::string(a.kernel()) + " row " + std::to_string(i) + ' ' + c.str());
          const reference::ScoredRow row = reference::row(problem.p, b, h, i);
          const Defined want(row, i, std::vector<int>(row.weight.size(), -1), 0);
          const std::size_t at = first + static_cast<std::size_t>(i);
          const double off = kLoose + 4 * truth.lse_bound(at);
          std::set<int> seen;
          for (std::size_t k = 0; k < top; ++k) {
            const int key = a.rows.top_key[at * top + k];
            const auto got = static_cast<double>(a.rows.top_weight[at * top + k]);
            const double best = k < want.sorted.size() ? want.sorted[k] : 0;
            ASSERT_NEAR(got, best, off * best + 1e-12);
            if (key < 0) {
              ASSERT_EQ(got, 0);
              continue;
            }
            ASSERT_LT(key, problem.p.keys_of(b));
            ASSERT_TRUE(seen.insert(key).second) << "twice";
            ASSERT_NEAR(row.weight[static_cast<std::size_t>(key)], got, off * got + 1e-12);
          }
        }
      });
    });
  });
}

/// Scores of small integers, hundreds of them equal, over many tiles, one of them with a value that is not finite.
TEST(RowStatistics, OfEqualWeightsTheFirstKeysAreNamed) {
  constexpr int kQueries = 40, kKeys = 1500, kDims = 16, kTop = 8;
  Rng rng(5);
  Tensor q(DType::F32, {1, kQueries, 1, kDims}), k(DType::F32, {1, kKeys, 1, kDims}), v(DType::F32, k.shape());
  for (Tensor* x : {&q, &k, &v})
    for (float& number : x->values<float>()) number = static_cast<float>(rng.in(-1, 1));
  v.values<float>()[std::size_t{700} * kDims] = std::numeric_limits<float>::infinity();
  std::vector<int> want;
  for (int i = 0; i < kQueries; ++i) {
    std::vector<std::pair<float, int>> order;  // −q·k and the key
    for (int j = 0; j < kKeys; ++j) {
      const float *query = q.data<float>() + i * kDims, *key = k.data<float>() + j * kDims;
      order.emplace_back(-std::inner_product(query, query + kDims, key, 0.0f), j);
    }
    std::ranges::sort(order);
    for (int n = 0; n < kTop; ++n) want.push_back(order[static_cast<std::size_t>(n)].second);
  }
  for (const DType dtype : {DType::F32, DType::BF16})
    on_every_isa([&] {
      const Attention a =
          attend(q.to(dtype).view(), k.to(dtype).view(), v.to(dtype).view(), AttentionSpec(statistics(kTop)));
      EXPECT_EQ(a.rows.top_key, want) << a.kernel();
    });
}

TEST(RowStatistics, KeysAreNamedBeyondWhatAFloatCounts) {
  if (kSanitized) GTEST_SKIP() << "skipped: 16 million keys take a plain build";
  constexpr int kKeys = (1 << 24) + 2;  // the last is the first odd number that f32 does not have
  const float one[] = {1};
  const View q(one, {1, 1, 1, 1}), same(one, {1, kKeys, 1, 1}, {0, 0, 0, 1});  // each key is the one number
  AttentionSpec spec;
  spec.score = alibi({1.0f});
  spec.statistics = statistics(2);
  on_every_isa([&] {
    const Attention a = attend(q, same, same, spec);
    EXPECT_EQ(a.rows.top_key, (std::vector<int>{kKeys - 1, kKeys - 2})) << a.kernel();
    EXPECT_NEAR(a.rows.top_weight[0], 1 - std::exp(-1.0), 1e-6) << a.kernel();
  });
}

/// A cache that is long enough to be cut into runs, whose rows are joined.
TEST(RowStatistics, OfRunsOfKeysAreJoined) {
  Rng rng(7);
  for (const int queries : {1, 3}) {
    Tensor q(DType::F32, {1, queries, 4, 16}), k(DType::F32, {1, 2300, 2, 16}), v(DType::F32, {1, 2300, 2, 16});
    for (Tensor* x : {&q, &k, &v})
      for (float& number : x->values<float>()) number = static_cast<float>(rng.uniform(-2, 2));
    std::vector<int> labels(2300);
    for (std::size_t j = 0; j < labels.size(); ++j) labels[j] = j < 700 ? 0 : 1;
    const std::vector<float> sink{0.5f, -1, 3, 0};
    const AttentionSpec spec(causal(), sinks(sink), statistics(8, labels));
    AttentionSpec exact = spec;
    exact.kernel = "reference";
    const Attention want = attend(q.view(), k.view(), v.view(), exact);
    on_every_isa([&] {
      const Attention a = attend(q.view(), k.view(), v.view(), spec);
      const auto near = [](const Tensor& x, const Tensor& y, float off) {
        ASSERT_EQ(x.elements(), y.elements());
        for (std::int64_t i = 0; i < x.elements(); ++i)
          ASSERT_NEAR(x.data<float>()[i], y.data<float>()[i], off * (1 + std::abs(y.data<float>()[i])));
      };
      near(a.max, want.max, 1e-5f), near(a.rows.entropy, want.rows.entropy, 1e-5f);
      near(a.rows.distance, want.rows.distance, 1e-5f), near(a.rows.segments, want.rows.segments, 1e-5f);
      near(a.rows.first, want.rows.first, 1e-6f);
      EXPECT_EQ(a.rows.top_key, want.rows.top_key) << a.kernel();
      for (std::size_t i = 0; i < a.rows.top_weight.size(); ++i)
        ASSERT_NEAR(a.rows.top_weight[i], want.rows.top_weight[i], 1e-5f);
    });
  }
}

TEST(Weights, OfTilesAndEdgesArePartsOfRows) {
  for_cases(300, [](Rng& rng) {
    const Case c = random_case(rng, wide());
    const CaseProblem problem(c);
    if (problem.p.batches == 0) return;
    const int b = rng.below(problem.p.batches), h = rng.below(c.heads()), keys = problem.p.keys_of(b),
              rows = problem.p.queries_of(b);
    if (keys == 0 || rows == 0) return;
    const Range queries{rng.below(rows), rows}, wanted{rng.below(keys), rng.in(0, keys)};
    on_every_isa([&] {
      const Attention a = c.attend();
      const std::vector<float> all = a.weights(b, h, {0, rows});
      const auto whole = [&](int i, int j) { return static_cast<double>(all[static_cast<std::size_t>(i * keys + j)]); };
      if (wanted.begin <= wanted.end) {
        const std::vector<float> tile = a.weights(b, h, queries, wanted);
        const int width = wanted.end - wanted.begin;
        ASSERT_EQ(std::ssize(tile), std::int64_t{rows - queries.begin} * width);
        for (int i = queries.begin; i < rows; ++i)
          for (int j = wanted.begin; j < wanted.end; ++j)
            ASSERT_NEAR(tile[static_cast<std::size_t>((i - queries.begin) * width + j - wanted.begin)], whole(i, j),
                        kLoose * whole(i, j) + 1e-12)
                << a.kernel() << ' ' << c.str();
      } else {
        EXPECT_THROW(a.weights(b, h, queries, wanted), Error);
      }
      std::vector<Attention::Edge> edges;
      for (int k = 0; k < 5; ++k) edges.push_back({b, h, rng.below(rows), rng.below(keys)});
      const std::vector<float> single = a.weights(edges);
      ASSERT_EQ(single.size(), edges.size());
      for (std::size_t k = 0; k < edges.size(); ++k) {
        const double want = whole(edges[k].query, edges[k].key);
        ASSERT_NEAR(single[k], want, kLoose * want + 1e-12) << a.kernel() << ' ' << c.str();
      }
    });
  });
}

TEST(RowStatistics, RefusesMoreThanItKeeps) {
  Rng rng(1);
  Choice choice;
  choice.batches = 1, choice.empty = false;
  const Case c = random_tensors(rng, choice);
  EXPECT_THROW(gathered(c, 17), Error);
  EXPECT_THROW(gathered(c, -1), Error);
  const std::vector<int> wrong(static_cast<std::size_t>(c.keys() + 1));
  AttentionSpec spec = c.spec();
  spec.statistics = statistics(0, wrong);
  EXPECT_THROW(attend(c.q.view, c.k.view, c.v.view, spec), Error);
  std::vector<int> too_many(static_cast<std::size_t>(c.keys()));
  too_many[0] = 32;
  spec.statistics = statistics(0, too_many);
  EXPECT_THROW(attend(c.q.view, c.k.view, c.v.view, spec), Error);
}

}  // namespace
}  // namespace fovea
