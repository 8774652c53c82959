// What attention doesn't care about: the order of keys, of queries and of dimensions, what stands beside a row, and
// whether keys are shared or repeated: properties 1 to 3, 11 and 20 of the list. Masks and scores of every kind are
// relabelled along.
#include <gtest/gtest.h>

#include "support/relations.hpp"

namespace fovea {
namespace {

using namespace fovea::testing;

constexpr int kCases = 1000;

Choice small() {
  Choice choice;
  choice.lengths = false, choice.work = 10'000;
  return choice;
}
std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

TEST(Permuting, KeysAndValuesTogetherChangesNothing) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, small());
    const std::vector<int> from = rng.permutation(c.keys());
    Case shuffled = c;
    shuffled.k = Input(c.k.view.dtype, c.k.view.shape), shuffled.v = Input(c.v.view.dtype, c.v.view.shape);
    shuffled.k.fill([&](auto b, auto t, auto h, auto d) { return c.k.get(b, from[index(t)], h, d); });
    shuffled.v.fill([&](auto b, auto t, auto h, auto d) { return c.v.get(b, from[index(t)], h, d); });
    relabel(shuffled, [from](Site s) { return s.key = from[index(s.key)], s; });
    expect_same(shuffled, c);
  });
}

TEST(Permuting, QueriesPermutesOutputs) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, small());
    const std::vector<int> from = rng.permutation(c.queries());
    Case shuffled = c;
    shuffled.q = Input(c.q.view.dtype, c.q.view.shape);
    shuffled.q.fill([&](auto b, auto t, auto h, auto d) { return c.q.get(b, from[index(t)], h, d); });
    relabel(shuffled, [from](Site s) { return s.query = from[index(s.query)], s; });
    expect_same(shuffled, c, [&](auto b, auto t, auto h) { return RowAt{b, from[index(t)], h}; });
  });
}

TEST(Permuting, BatchRowsAndHeadGroupsPermutesOutputs) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, small());
    const std::vector<int> batch = rng.permutation(c.batches()), kv = rng.permutation(c.kv_heads());
    const int group = c.heads() / c.kv_heads();
    const auto head = [kv, group](std::int64_t h) {
      return kv[index(h / group)] * group + static_cast<int>(h) % group;
    };
    Case shuffled = c;
    shuffled.q = Input(c.q.view.dtype, c.q.view.shape);
    shuffled.k = Input(c.k.view.dtype, c.k.view.shape), shuffled.v = Input(c.v.view.dtype, c.v.view.shape);
    shuffled.q.fill([&](auto b, auto t, auto h, auto d) { return c.q.get(batch[index(b)], t, head(h), d); });
    shuffled.k.fill([&](auto b, auto t, auto h, auto d) { return c.k.get(batch[index(b)], t, kv[index(h)], d); });
    shuffled.v.fill([&](auto b, auto t, auto h, auto d) { return c.v.get(batch[index(b)], t, kv[index(h)], d); });
    for (std::size_t h = 0; h < c.sinks.size(); ++h)
      shuffled.sinks[h] = c.sinks[index(head(static_cast<std::int64_t>(h)))];
    relabel(shuffled, [batch, head](Site s) { return s.batch = batch[index(s.batch)], s.head = head(s.head), s; });
    expect_same(shuffled, c, [&](auto b, auto t, auto h) { return RowAt{batch[index(b)], t, head(h)}; });
  });
}

TEST(Permuting, DimensionsAndTheirSignsChangesNothing) {
  for_cases(kCases, [](Rng& rng) {
    const Case c = random_case(rng, small());
    const std::vector<int> from = rng.permutation(c.head_dim());
    std::vector<double> sign;
    for (int d = 0; d < c.head_dim(); ++d) sign.push_back(rng.pick({1.0, -1.0}));
    Case turned = c;
    turned.q = Input(c.q.view.dtype, c.q.view.shape), turned.k = Input(c.k.view.dtype, c.k.view.shape);
    turned.q.fill([&](auto b, auto t, auto h, auto d) { return sign[index(d)] * c.q.get(b, t, h, from[index(d)]); });
    turned.k.fill([&](auto b, auto t, auto h, auto d) { return sign[index(d)] * c.k.get(b, t, h, from[index(d)]); });
    expect_same(turned, c);
  });
}

// (a, b) → (3a + 4b, 4a − 3b) turns a pair of dimensions and stretches it by 5; on the grid that is exact in every
// dtype.
TEST(Rotating, QueriesAndKeysTogetherChangesNothing) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = small();
    choice.grid_values = true;
    Case c = random_case(rng, choice);
    if (c.head_dim() % 2) return;
    Case turned = c;
    const auto turn = [](const Input& x) {
      Input y(x.view.dtype, x.view.shape);
      y.fill([&](auto b, auto t, auto h, auto d) {
        const double even = x.get(b, t, h, d & ~1), odd = x.get(b, t, h, d | 1);
        return d % 2 ? 4 * even - 3 * odd : 3 * even + 4 * odd;
      });
      return y;
    };
    turned.q = turn(c.q), turned.k = turn(c.k);
    turned.scale = c.the_scale() / 25;
    expect_same(turned, c);
  });
}

TEST(GroupedQuery, IsRepeatedKeysAndValues) {
  for_cases(kCases, [](Rng& rng) {
    Choice choice = small();
    choice.lengths = true;
    const Case c = random_case(rng, choice);
    const int group = c.heads() / c.kv_heads();
    Case repeated = c;
    repeated.k = Input(c.k.view.dtype, {c.batches(), c.keys(), c.heads(), c.head_dim()});
    repeated.v = Input(c.v.view.dtype, {c.batches(), c.keys(), c.heads(), c.value_dim()});
    repeated.k.fill([&](auto b, auto t, auto h, auto d) { return c.k.get(b, t, h / group, d); });
    repeated.v.fill([&](auto b, auto t, auto h, auto d) { return c.v.get(b, t, h / group, d); });
    expect_same(repeated, c);
  });
}

}  // namespace
}  // namespace fovea
