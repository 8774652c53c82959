// The second pass over one head: everything that it adds up is what the weights of its rows add up to, which are the
// reference's (inspection_properties_test).
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include <fovea/threads.hpp>
#include <fovea/trace.hpp>

#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

Choice small() {
  Choice choice;
  choice.most = 300, choice.work = 25'000;
  return choice;
}

/// A head of the case, some of its rows, and what is asked of them.
struct Asked {
  TraceQuery query;
  std::vector<float> along, share;
  int rows = 0, keys = 0;
};
bool choose(Rng& rng, const Case& c, const Problem& p, Asked& to) {
  if (p.batches == 0) return false;
  TraceQuery& q = to.query;
  q.batch = rng.below(p.batches), q.head = rng.below(c.heads());
  q.queries.begin = rng.chance(0.5) ? 0 : rng.in(0, p.queries_of(q.batch));
  q.queries.end = rng.in(q.queries.begin, p.queries_of(q.batch));
  q.offsets = {-1, 0, 1, rng.in(-40, 40)};
  q.received = q.tiles = true;
  to.rows = q.queries.end - q.queries.begin, to.keys = p.keys_of(q.batch);
  for (int j = 0; j < to.keys; ++j) to.along.push_back(static_cast<float>(rng.uniform(-1, 1)));
  for (int i = 0; i < to.rows; ++i) to.share.push_back(static_cast<float>(rng.uniform(0, 2)));
  q.along = to.along;
  if (rng.chance(0.5)) q.received_share = to.share;
  return true;
}

double surprise(double a) { return a > 0 ? -a * std::log(a) : 0; }

/// Sums of a row's terms: f32, in runs, of weights that are each within a few units of their last place.
constexpr double kLoose = 2e-5;

TEST(Trace, RowsAreWhatTheirWeightsAddUpTo) {
  for_cases(400, [](Rng& rng) {
    const Case c = random_case(rng, small());
    const CaseProblem problem(c);
    Asked asked;
    if (!choose(rng, c, problem.p, asked)) return;
    const Truth truth(c);
    on_every_isa([&] {
      const Attention a = c.attend();
      const TraceQuery& q = asked.query;
      const Trace t = trace(a, q);
      const std::vector<float> weights = a.weights(q.batch, q.head, q.queries);  // [rows, keys]
      for (int i = 0; i < asked.rows; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const int query = q.queries.begin + i;
        SCOPED_TRACE(std::string(a.kernel()) + " query " + std::to_string(query) + ' ' + c.str());
        const float* w = weights.data() + at * static_cast<std::size_t>(asked.keys);
        const auto sink = static_cast<double>(a.sink_weight({q.batch, q.head, query}));
        double mass = 0, entropy = surprise(sink), most = 0, distance = 0, along = 0, furthest = 1;
        int visible = 0;
        for (int j = 0; j < asked.keys; ++j) {
          const auto x = static_cast<double>(w[j]);
          mass += x, entropy += surprise(x), most = std::max(most, x);
          distance += x * std::abs(query - j), furthest = std::max(furthest, double(std::abs(query - j)));
          along += x * static_cast<double>(asked.along[static_cast<std::size_t>(j)]);
          visible += c.mask(Site{q.batch, q.head, query, j, problem.p.queries_of(q.batch), asked.keys}) ? 1 : 0;
        }
        ASSERT_EQ(t.visible[at], visible);
        ASSERT_NEAR(t.mass[at], mass, kLoose);
        ASSERT_NEAR(t.entropy[at], entropy, kLoose * (1 + std::log(asked.keys + 1)));
        ASSERT_GE(t.entropy[at], 0);
        ASSERT_NEAR(t.most[at], most, kLoose);
        ASSERT_NEAR(t.distance[at], distance, kLoose * furthest);
        ASSERT_NEAR(t.along[at], along, kLoose);
        ASSERT_NEAR(t.first[at], asked.keys > 0 ? w[0] : 0, kLoose);
        for (std::size_t k = 0; k < q.offsets.size(); ++k) {
          const int key = query + q.offsets[k];
          ASSERT_NEAR(t.at[k * static_cast<std::size_t>(asked.rows) + at], key >= 0 && key < asked.keys ? w[key] : 0,
                      kLoose);
        }
      }
    });
  });
}

TEST(Trace, ColumnsAndTilesAreTheirsToo) {
  for_cases(300, [](Rng& rng) {
    const Case c = random_case(rng, small());
    const CaseProblem problem(c);
    Asked asked;
    if (!choose(rng, c, problem.p, asked)) return;
    on_every_isa([&] {
      const Attention a = c.attend();
      const TraceQuery& q = asked.query;
      const Trace t = trace(a, q);
      const std::vector<float> weights = a.weights(q.batch, q.head, q.queries);
      const int across = (asked.keys + 63) / 64, down = (asked.rows + 63) / 64;
      std::vector<double> received(static_cast<std::size_t>(asked.keys)), mass(static_cast<std::size_t>(across * down)),
          peak(mass);
      for (int i = 0; i < asked.rows; ++i)
        for (int j = 0; j < asked.keys; ++j) {
          const auto x = static_cast<double>(weights[static_cast<std::size_t>(i * asked.keys + j)]);
          const double share =
              q.received_share.empty() ? 1 : static_cast<double>(q.received_share[static_cast<std::size_t>(i)]);
          received[static_cast<std::size_t>(j)] += share * x;
          const auto tile = static_cast<std::size_t>(i / 64 * across + j / 64);
          mass[tile] += x, peak[tile] = std::max(peak[tile], x);
        }
      TraceQuery columns = q;
      columns.rows = false;
      const Trace light = trace(a, columns);
      ASSERT_TRUE(light.entropy.empty() && light.error.empty());
      ASSERT_EQ(light.received, t.received);
      ASSERT_EQ(light.tile_peak, t.tile_peak);
      ASSERT_EQ(t.received.size(), received.size());
      ASSERT_EQ(t.tile_mass.size(), mass.size());
      for (std::size_t j = 0; j < received.size(); ++j)
        ASSERT_NEAR(t.received[j], received[j], kLoose * (1 + asked.rows)) << a.kernel() << ' ' << c.str();
      for (std::size_t i = 0; i < mass.size(); ++i) {
        ASSERT_NEAR(t.tile_mass[i], mass[i], kLoose * 64) << a.kernel() << ' ' << c.str();
        ASSERT_NEAR(t.tile_peak[i], peak[i], kLoose) << a.kernel() << ' ' << c.str();
      }
    });
  });
}

TEST(Trace, TheProofIsSmallAndCanFail) {
  for_cases(200, [](Rng& rng) {
    Choice choice = small();
    choice.dtypes = {DType::F32};
    Case c = random_case(rng, choice);
    c.output.reset();
    const CaseProblem problem(c);
    Asked asked;
    if (!choose(rng, c, problem.p, asked) || asked.rows == 0 || c.value_dim() == 0) return;
    on_every_isa([&] {
      Attention a = c.attend();
      const TraceQuery& q = asked.query;
      const Trace before = trace(a, q);
      for (int i = 0; i < asked.rows; ++i) {
        const double shown = a.max_abs_error({q.batch, q.head, q.queries.begin + i});
        ASSERT_NEAR(before.error[static_cast<std::size_t>(i)], shown, 2e-5) << a.kernel() << ' ' << c.str();
      }
      const int row = rng.below(asked.rows), channel = rng.below(c.value_dim());
      const auto [b, time] = problem.place(q.batch, q.queries.begin + row);
      a.out.data<float>()[((std::int64_t{b} * c.queries() + time) * c.heads() + q.head) * c.value_dim() + channel] +=
          0.25f;
      ASSERT_NEAR(trace(a, q).error[static_cast<std::size_t>(row)], 0.25, 1e-4) << a.kernel() << ' ' << c.str();
    });
  });
}

TEST(Trace, TheSameBitsForAnyNumberOfThreads) {
  Rng rng(3);
  Choice choice;
  choice.most = 900, choice.work = 4'000'000, choice.batches = 1, choice.lengths = false;
  const Case c = random_tensors(rng, choice);
  const Attention a = c.attend();
  TraceQuery q{.queries = {0, c.queries()}, .received = true};
  const int before = threads();
  set_threads(1);
  const Trace one = trace(a, q);
  for (const int n : {2, 7}) {
    set_threads(n);
    const Trace many = trace(a, q);
    EXPECT_EQ(one.entropy, many.entropy);
    EXPECT_EQ(one.received, many.received);
    EXPECT_EQ(one.error, many.error);
  }
  set_threads(before);
}

TEST(Trace, RefusesWhatIsNotThere) {
  Rng rng(4);
  Choice choice;
  choice.batches = 1, choice.empty = false, choice.lengths = false;
  const Case c = random_tensors(rng, choice);
  const Attention a = c.attend();
  EXPECT_THROW(trace(a, {.head = c.heads(), .queries = {0, 1}}), Error);
  EXPECT_THROW(trace(a, {.queries = {0, c.queries() + 1}}), Error);
  const std::vector<float> wrong(static_cast<std::size_t>(c.keys() + 1));
  EXPECT_THROW(trace(a, {.queries = {0, 1}, .along = wrong}), Error);
}

}  // namespace
}  // namespace fovea
