// What softmax-weighted averaging promises, whatever the mask: properties 4 to 10, 12 to 14, 24 and 25 of the list.
// Numbers lie on a grid that every dtype represents, so that transformed problems are exact and only the kernels err.
#include <gtest/gtest.h>

#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 1000;

Choice exact() {
  Choice choice;
  choice.grid_values = true, choice.lengths = choice.sinks = choice.scores = false, choice.work = 12'000;
  return choice;
}

/// Which keys the query sees, [keys].
std::vector<int> visible_keys(const Case& c, std::int64_t b, std::int64_t h, std::int64_t q) {
  std::vector<int> keys;
  for (int j = 0; j < c.keys(); ++j)
    if (c.mask(Site{static_cast<int>(b), static_cast<int>(h), static_cast<int>(q), j, c.queries(), c.keys()}))
      keys.push_back(j);
  return keys;
}
template <class F>
void for_rows(const Case& c, F f) {
  for (std::int64_t b = 0; b < c.batches(); ++b)
    for (std::int64_t t = 0; t < c.queries(); ++t)
      for (std::int64_t h = 0; h < c.heads() && !::testing::Test::HasFatalFailure(); ++h) f(b, t, h);
}
std::int64_t kv_head(const Case& c, std::int64_t head) { return head / (c.heads() / c.kv_heads()); }

TEST(Softmax, OutputLiesBetweenTheLeastAndTheGreatestVisibleValue) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, exact());
    for (const Answer& a : everywhere(c))
      for_rows(c, [&](auto b, auto t, auto h) {
        const std::vector<int> keys = visible_keys(c, b, h, t);
        for (std::int64_t d = 0; d < c.value_dim(); ++d) {
          double low = keys.empty() ? 0 : kInf, high = keys.empty() ? 0 : -kInf;
          for (const int j : keys)
            low = std::min(low, c.v.get(b, j, kv_head(c, h), d)),
            high = std::max(high, c.v.get(b, j, kv_head(c, h), d));
          const Approx o = a.o(b, t, h, d);
          ASSERT_GE(o.value, low - o.tolerance) << a.engine << ' ' << c.str();
          ASSERT_LE(o.value, high + o.tolerance) << a.engine << ' ' << c.str();
        }
      });
  });
}

TEST(Softmax, WeightsOfARowSumToOne) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = exact();
    choice.scores = true;
    Case c = random_case(rng, choice);
    const double constant = rng.in(1, 32) / 16.0;
    c.v.fill([&](auto b, auto, auto h, auto d) { return (b + h + d) % 2 ? constant : -constant; });
    for (const Answer& a : everywhere(c))
      for_rows(c, [&](auto b, auto t, auto h) {
        const bool any = !visible_keys(c, b, h, t).empty();
        for (std::int64_t d = 0; d < c.value_dim(); ++d)
          ASSERT_TRUE(close(a.o(b, t, h, d), {any ? c.v.get(b, 0, kv_head(c, h), d) : 0, 0}))
              << a.engine << ' ' << c.str();
      });
  });
}

TEST(Softmax, OutputIsLinearInTheValues) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = exact();
    choice.scores = choice.sinks = true, choice.lengths = true;
    Case x = random_case(rng, choice), y = x, sum = x;
    y.v = x.v.copy(), sum.v = x.v.copy();
    const double alpha = rng.pick({1.0, -1.0, 2.0, 0.5}), beta = rng.pick({1.0, -1.0});
    y.v.fill([&](auto...) { return rng.in(-32, 32) / 16.0; });
    sum.v.fill(
        [&](auto b, auto t, auto h, auto d) { return alpha * x.v.get(b, t, h, d) + beta * y.v.get(b, t, h, d); });
    const auto xs = everywhere(x), ys = everywhere(y), sums = everywhere(sum);
    for (std::size_t e = 0; e < xs.size(); ++e)
      for_rows(x, [&](auto b, auto t, auto h) {
        for (std::int64_t d = 0; d < x.value_dim(); ++d)
          ASSERT_TRUE(close(sums[e].o(b, t, h, d), alpha * xs[e].o(b, t, h, d) + beta * ys[e].o(b, t, h, d)))
              << xs[e].engine << ' ' << x.str();
        ASSERT_TRUE(close(xs[e].l(b, t, h), sums[e].l(b, t, h)));
      });
  });
}

TEST(Softmax, AddingToARowsScoresOnlyShiftsItsLse) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = exact();
    choice.scores = true;
    const Case c = random_case(rng, choice);
    std::vector<float> amounts;
    for (int i = 0; i < c.queries(); ++i) amounts.push_back(static_cast<float>(rng.in(-64, 64)) / 16);
    Case shifted = c;
    shifted.score = c.score | bias(TensorView(DType::F32, amounts.data(), {1, 1, c.queries(), 1}));
    shifted.moves += 4;
    expect_same(shifted, c, itself,
                [&](auto, auto t, auto) { return static_cast<double>(amounts[static_cast<std::size_t>(t)]); });
  });
}

TEST(Softmax, AddingOneVectorToAllKeysLeavesTheOutput) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, exact());
    Case moved = c;
    moved.k = Input(c.k.view.dtype, c.k.view.shape);
    std::vector<double> u;
    for (int d = 0; d < c.head_dim(); ++d) u.push_back(rng.in(-32, 32) / 16.0);
    moved.k.fill([&](auto b, auto t, auto h, auto d) { return c.k.get(b, t, h, d) + u[static_cast<std::size_t>(d)]; });
    expect_same(moved, c, itself, [&](auto b, auto t, auto h) {
      double dot = 0;
      for (int d = 0; d < c.head_dim(); ++d) dot += c.q.get(b, t, h, d) * u[static_cast<std::size_t>(d)];
      return c.the_scale() * dot;
    });
  });
}

TEST(Softmax, ScalingQueriesUpAndKeysDownLeavesTheBits) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = exact();
    choice.scores = choice.sinks = choice.lengths = true;
    const Case c = random_case(rng, choice);
    Case scaled_case = c;
    const double alpha = rng.pick({0.125, 0.25, 0.5, 2.0, 4.0, 8.0});
    scaled_case.q = c.q.copy(), scaled_case.k = c.k.copy();
    scaled_case.q.fill([&](auto b, auto t, auto h, auto d) { return c.q.get(b, t, h, d) * alpha; });
    scaled_case.k.fill([&](auto b, auto t, auto h, auto d) { return c.k.get(b, t, h, d) / alpha; });
    on_every_isa([&] { EXPECT_TRUE(same_bits(scaled_case.attend(), c.attend())) << c.str(); });
  });
}

TEST(Softmax, ZeroQueriesGiveTheMeanOfVisibleValues) {
  for_cases(kCases, [](Rng& rng) {
    Case c = random_case(rng, exact());
    c.q.fill([](auto...) { return 0.0; });
    for (const Answer& a : everywhere(c))
      for_rows(c, [&](auto b, auto t, auto h) {
        const std::vector<int> keys = visible_keys(c, b, h, t);
        const auto n = static_cast<double>(keys.size());
        for (std::int64_t d = 0; d < c.value_dim(); ++d) {
          double sum = 0;
          for (const int j : keys) sum += c.v.get(b, j, kv_head(c, h), d);
          ASSERT_TRUE(close(a.o(b, t, h, d), {keys.empty() ? 0 : sum / n, 1e-15})) << a.engine << ' ' << c.str();
        }
        ASSERT_TRUE(close(a.l(b, t, h), {keys.empty() ? -kInf : std::log(n), 1e-15}));
      });
  });
}

// On the grid, q·k is exact in f32 and scores differ by at least 2^16/256 or not at all: the rest of the row weighs
// e^−256.
TEST(Softmax, AGreatScaleGivesTheArgmaxRow) {
  for_cases(kCases, [](Rng& rng) {
    Case c = random_case(rng, exact());
    c.scale = 65536;
    for (const Answer& a : everywhere(c))
      for_rows(c, [&](auto b, auto t, auto h) {
        double best = -kInf;
        std::vector<int> argmax;
        for (const int j : visible_keys(c, b, h, t)) {
          double dot = 0;
          for (int d = 0; d < c.head_dim(); ++d) dot += c.q.get(b, t, h, d) * c.k.get(b, j, kv_head(c, h), d);
          if (dot > best) best = dot, argmax.clear();
          if (dot == best) argmax.push_back(j);
        }
        for (std::int64_t d = 0; d < c.value_dim(); ++d) {
          double sum = 0, size = 0;
          for (const int j : argmax)
            sum += c.v.get(b, j, kv_head(c, h), d), size += std::abs(c.v.get(b, j, kv_head(c, h), d));
          const auto n = static_cast<double>(std::max<std::size_t>(argmax.size(), 1));
          const double tight = (unit_roundoff(c.out_dtype()) + 4 * kEpsAcc) * size / n + 1e-30;
          ASSERT_NEAR(a.o(b, t, h, d).value, sum / n, tight) << a.engine << ' ' << c.str();
        }
      });
  });
}

TEST(Softmax, EveryKeyTwiceLeavesTheOutputAndAddsLn2) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = exact();
    choice.scores = true;
    const Case c = random_case(rng, choice);
    const int n = c.keys();
    Case twice = c;
    twice.k = Input(c.k.view.dtype, {c.batches(), 2 * n, c.kv_heads(), c.head_dim()});
    twice.v = Input(c.v.view.dtype, {c.batches(), 2 * n, c.kv_heads(), c.value_dim()});
    twice.k.fill([&](auto b, auto t, auto h, auto d) { return c.k.get(b, t % n, h, d); });
    twice.v.fill([&](auto b, auto t, auto h, auto d) { return c.v.get(b, t % n, h, d); });
    relabel(twice, [n](Site s) { return s.key %= n, s.keys = n, s; });
    expect_same(twice, c, itself, [](auto...) { return std::log(2.0); });
  });
}

TEST(Scores, ASoftCapFarAwayIsNone) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice;
    choice.work = 12'000, choice.scores = false;
    const Case c = random_case(rng, choice);
    Case capped = c;
    capped.score = softcap(1e12f);
    expect_same(capped, c);
  });
}

TEST(Sinks, AreKeysWithoutAValue) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice;
    choice.work = 12'000, choice.lengths = false;
    Case c = random_case(rng, choice);
    c.sinks.clear();
    for (int h = 0; h < c.heads(); ++h) c.sinks.push_back(static_cast<float>(rng.uniform(-6, 6)));
    const int n = c.keys();
    Case extra = c;
    extra.sinks.clear();
    extra.k = Input(c.k.view.dtype, {c.batches(), n + 1, c.kv_heads(), c.head_dim()});
    extra.v = Input(c.v.view.dtype, {c.batches(), n + 1, c.kv_heads(), c.value_dim()});
    extra.k.fill([&](auto b, auto t, auto h, auto d) { return t < n ? c.k.get(b, t, h, d) : 0; });
    extra.v.fill([&](auto b, auto t, auto h, auto d) { return t < n ? c.v.get(b, t, h, d) : 0; });
    extra.mask = mask([old = c.mask, n](Site s) { return s.key == n || (s.keys = n, old(s)); });
    extra.score = score([old = c.score, n, sink = c.sinks](auto s, Site at) {
      if (at.key == n) return s + sink[static_cast<std::size_t>(at.head)];  // k = 0, so s is 0
      at.keys = n;
      return old(s, at);
    });
    extra.moves += 6;
    expect_same(extra, c);
  });
}

TEST(Sinks, OfMinusInfinityAreNone) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice;
    choice.work = 12'000, choice.sinks = false;
    const Case c = random_case(rng, choice);
    Case seeded = c;
    seeded.sinks.assign(static_cast<std::size_t>(c.heads()), -std::numeric_limits<float>::infinity());
    on_every_isa([&] { EXPECT_TRUE(same_bits(seeded.attend(), c.attend())) << c.str(); });
  });
}

}  // namespace
}  // namespace fovea
