// What the forward pass gathers of rows is what a second pass says of them, and changes no bit of the output; the
// greatest weights are the dense ones; tiles and single weights are parts of rows.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include <fovea/trace.hpp>

#include "support/relations.hpp"

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

TEST(RowStatistics, AreThoseOfASecondPassAndChangeNoBit) {
  for_cases(400, [](Rng& rng) {
    const Case c = random_case(rng, wide());
    const CaseProblem problem(c);
    const int top = rng.pick({0, 0, 1, 8, 16});
    on_every_isa([&] {
      const Attention a = gathered(c, top), plain = c.attend();
      ASSERT_TRUE(same_bits(a, plain)) << c.str();
      for_heads(c, problem, a, [&](int b, int h, std::size_t first) {
        const Trace t = trace(a, {.batch = b, .head = h, .queries = {0, problem.p.queries_of(b)}});
        for (std::size_t i = 0; i < t.entropy.size(); ++i) {
          SCOPED_TRACE(std::string(a.kernel()) + " row " + std::to_string(i) + ' ' + c.str());
          const std::size_t at = first + i;
          const double furthest = std::max(problem.p.queries_of(b), problem.p.keys_of(b));
          ASSERT_NEAR(a.rows.entropy.values<float>()[at], t.entropy[i], kLoose * (1 + std::log(furthest)));
          ASSERT_NEAR(a.rows.distance.values<float>()[at], t.distance[i], kLoose * furthest);
          ASSERT_NEAR(a.rows.first.values<float>()[at], t.first[i], kLoose);
          const double lse = static_cast<double>(a.lse.values<float>()[at]),
                       max = static_cast<double>(a.rows.max.values<float>()[at]);
          if (t.visible[i] == 0) {
            ASSERT_TRUE(std::isinf(max) && max < 0);
          } else if (!std::isinf(lse)) {
            ASSERT_NEAR(std::exp(max - lse), t.most[i], kLoose);
          }
        }
      });
    });
  });
}

TEST(RowStatistics, TheGreatestWeightsAreTheDenseOnes) {
  for_cases(300, [](Rng& rng) {
    const Case c = random_case(rng, wide());
    const CaseProblem problem(c);
    const int top = rng.in(1, 16);
    on_every_isa([&] {
      const Attention a = gathered(c, top);
      for_heads(c, problem, a, [&](int b, int h, std::size_t first) {
        const int keys = problem.p.keys_of(b), rows = problem.p.queries_of(b);
        const std::vector<float> weights = a.weights(b, h, {0, rows});
        for (int i = 0; i < rows; ++i) {
          SCOPED_TRACE(std::string(a.kernel()) + " row " + std::to_string(i) + ' ' + c.str());
          const float* row = weights.data() + static_cast<std::ptrdiff_t>(i) * keys;
          std::vector<float> sorted(row, row + keys);
          std::ranges::sort(sorted, std::greater<>{});
          const std::size_t at = (first + static_cast<std::size_t>(i)) * static_cast<std::size_t>(top);
          std::set<int> seen;
          for (int k = 0; k < top; ++k) {
            const int key = a.rows.top_key[at + static_cast<std::size_t>(k)];
            const auto got = static_cast<double>(a.rows.top_weight[at + static_cast<std::size_t>(k)]);
            const double want = k < keys ? static_cast<double>(sorted[static_cast<std::size_t>(k)]) : 0;
            ASSERT_NEAR(got, want, kLoose * want + 1e-12);
            if (key < 0) {
              ASSERT_EQ(got, 0);
              continue;
            }
            ASSERT_LT(key, keys);
            ASSERT_TRUE(seen.insert(key).second) << "twice";
            ASSERT_NEAR(row[key], got, kLoose * got + 1e-12);
          }
        }
      });
    });
  });
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
}

}  // namespace
}  // namespace fovea
