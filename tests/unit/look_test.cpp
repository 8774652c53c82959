// What is shown, against a plain reference in double that writes the whole matrix down.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>

#include <gtest/gtest.h>

#include <fovea/threads.hpp>

#include "look/links.hpp"
#include "look/row_sums.hpp"
#include "look/rows.hpp"
#include "look/statistics.hpp"
#include "support/random.hpp"

namespace fovea::look {
namespace {

using testing::for_cases;
using testing::Rng;

Tensor random_tensor(Rng& rng, Shape shape, double spread) {
  Tensor t(DType::F32, shape);
  for (float& x : t.values<float>()) x = static_cast<float>(spread * rng.normal());
  return t;
}

/// One layer over packed sequences, as an encoder records it, with everything that it borrows.
struct Layer {
  std::vector<int> ends;
  std::vector<float> sinks;
  AnyMask mask;
  Tensor output_weight;  // [width, heads · value_dim]
  models::LayerRecord record;
  int heads = 1, kv_heads = 1, head_dim = 1, value_dim = 1, width = 1;
  double cap = 0;  // of the scores; 0: none

  int begin(int sequence) const { return sequence == 0 ? 0 : ends[static_cast<std::size_t>(sequence) - 1]; }
  int length(int sequence) const { return ends[static_cast<std::size_t>(sequence)] - begin(sequence); }
  void attend_now() {
    AttentionSpec spec(packed(ends), mask);
    if (!sinks.empty()) spec.sinks = sinks;
    if (cap > 0) spec.score = AnyScore(softcap(static_cast<float>(cap)));
    record.attention = attend(record.q, record.k, record.v, spec);
    record.output_weight = output_weight;
  }
};

AnyMask random_mask(Rng& rng) {
  switch (rng.below(4)) {
    case 0:
      return AnyMask();
    case 1:
      return AnyMask(causal());
    case 2:
      return AnyMask(window(rng.in(0, 5), rng.in(0, 3)));
    default:
      return AnyMask(fovea::mask([](Site s) { return (s.query * 7 + s.key * 3 + s.head) % 4 != 0; }));
  }
}

/// Borrowed memory must not move: layers are made in place.
void make_layer(Rng& rng, Layer& l, int longest, double spread) {
  l.kv_heads = rng.in(1, 2), l.heads = l.kv_heads * rng.in(1, 3);
  l.head_dim = rng.in(1, 9), l.value_dim = rng.in(1, 9), l.width = rng.in(1, 20);
  for (int i = rng.in(1, 3); i > 0; --i) l.ends.push_back((l.ends.empty() ? 0 : l.ends.back()) + rng.in(1, longest));
  if (rng.chance(0.3))
    for (int h = 0; h < l.heads; ++h) l.sinks.push_back(static_cast<float>(rng.normal()));
  l.mask = random_mask(rng);
  if (rng.chance(0.3)) l.cap = rng.in(1, 6);
  const int time = l.ends.back();
  l.record.kind = "encoder", l.record.layer = rng.below(5);
  l.record.q = random_tensor(rng, {1, time, l.heads, l.head_dim}, spread);
  l.record.k = random_tensor(rng, {1, time, l.kv_heads, l.head_dim}, spread);
  l.record.v = random_tensor(rng, {1, time, l.kv_heads, l.value_dim}, 1);
  l.output_weight = random_tensor(rng, {l.width, l.heads * l.value_dim}, 1);
  l.attend_now();
}

double at(const Tensor& t, std::initializer_list<std::int64_t> index) {
  return element(t, std::span(index.begin(), index.size()));
}

/// A [queries, keys] of one head in double, by the definition; the last column is the sink.
using Matrix = std::vector<std::vector<double>>;
Matrix dense(const Layer& l, int sequence, int head) {
  const int n = l.length(sequence), first = l.begin(sequence), kv = head / (l.heads / l.kv_heads);
  Matrix a(static_cast<std::size_t>(n), std::vector<double>(static_cast<std::size_t>(n) + 1, 0.0));
  for (int i = 0; i < n; ++i) {
    auto& row = a[static_cast<std::size_t>(i)];
    double sum = 0;
    for (int j = 0; j < n; ++j) {
      if (!l.mask(Site{sequence, head, i, j, n, n})) continue;
      double s = 0;
      for (int d = 0; d < l.head_dim; ++d)
        s += at(l.record.q, {0, first + i, head, d}) * at(l.record.k, {0, first + j, kv, d});
      s /= std::sqrt(l.head_dim);
      if (l.cap > 0) s = l.cap * std::tanh(s / l.cap);
      sum += row[static_cast<std::size_t>(j)] = std::exp(s);
    }
    if (!l.sinks.empty()) sum += row.back() = std::exp(static_cast<double>(l.sinks[static_cast<std::size_t>(head)]));
    for (double& x : row) x = sum > 0 ? x / sum : 0;
  }
  return a;
}

int visible_keys(const Layer& l, int sequence, int head, int query) {
  const int n = l.length(sequence);
  int seen = 0;
  for (int j = 0; j < n; ++j) seen += l.mask(Site{sequence, head, query, j, n, n}) ? 1 : 0;
  return seen;
}

/// W_O of one head times x.
std::vector<double> project(const Layer& l, int head, const std::vector<double>& x) {
  std::vector<double> y(static_cast<std::size_t>(l.width), 0.0);
  for (int r = 0; r < l.width; ++r)
    for (int c = 0; c < l.value_dim; ++c)
      y[static_cast<std::size_t>(r)] +=
          at(l.output_weight, {r, head * l.value_dim + c}) * x[static_cast<std::size_t>(c)];
  return y;
}
double norm(const std::vector<double>& x) { return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0)); }

TEST(Statistics, AreTheDefinitionsOnADenseMatrix) {
  for_cases(300, [](Rng& rng) {
    Layer l;
    make_layer(rng, l, rng.chance(0.2) ? 150 : 12, 1.5);
    const int sequence = rng.below(static_cast<int>(l.ends.size())), head = rng.below(l.heads), n = l.length(sequence);
    const Matrix a = dense(l, sequence, head);
    double entropy = 0, normalised = 0, confidence = 0, sink = 0, previous = 0, travelled = 0, mass = 0, special = 0,
           self = 0, next = 0;
    std::vector<float> added;  // [keys]
    for (int j = 0; j < n; ++j) added.push_back(rng.chance(0.2) ? 1.0f : 0.0f);
    int rows = 0, free_rows = 0, later = 0;
    for (int i = 0; i < n; ++i) {
      const auto& row = a[static_cast<std::size_t>(i)];
      const int visible = visible_keys(l, sequence, head, i), choices = visible + (l.sinks.empty() ? 0 : 1);
      if (visible == 0) continue;
      double h = 0;
      for (const double x : row) h -= x > 0 ? x * std::log(x) : 0;
      ++rows, entropy += h, confidence += *std::max_element(row.begin(), row.end() - 1);
      if (choices > 1) ++free_rows, normalised += h / std::log(choices);
      for (int j = 0; j < n; ++j)
        travelled += row[static_cast<std::size_t>(j)] * std::abs(i - j), mass += row[static_cast<std::size_t>(j)];
      for (int j = 0; j < n; ++j)
        special += row[static_cast<std::size_t>(j)] * static_cast<double>(added[static_cast<std::size_t>(j)]);
      self += row[static_cast<std::size_t>(i)], next += i + 1 < n ? row[static_cast<std::size_t>(i) + 1] : 0;
      if (i > 0) ++later, sink += row[0], previous += row[static_cast<std::size_t>(i) - 1];
    }
    const HeadStatistics s = head_statistics(l.record, sequence, head, {{"encoder", added}});
    EXPECT_NEAR(s.special, rows ? special / rows : 0, 1e-5);
    EXPECT_NEAR(s.self, rows ? self / rows : 0, 1e-5);
    EXPECT_NEAR(s.next, rows ? next / rows : 0, 1e-5);
    EXPECT_EQ(s.kind, "encoder");
    EXPECT_EQ(s.layer, l.record.layer);
    EXPECT_EQ(s.head, head);
    EXPECT_NEAR(s.entropy, rows ? entropy / rows : 0, 1e-5);
    EXPECT_NEAR(s.normalised_entropy, free_rows ? normalised / free_rows : 0, 1e-5);
    EXPECT_NEAR(s.confidence, rows ? confidence / rows : 0, 1e-5);
    EXPECT_NEAR(s.sink, later ? sink / later : 0, 1e-5);
    EXPECT_NEAR(s.previous, later ? previous / later : 0, 1e-5);
    EXPECT_NEAR(s.distance, mass > 0 ? travelled / mass : 0, 1e-4);
    EXPECT_GE(s.entropy, 0);
    EXPECT_LE(s.normalised_entropy, 1 + 1e-5);
  });
}

TEST(Statistics, ProofIsMeasuredAgainstWhatTheKernelProduced) {
  for_cases(50, [](Rng& rng) {
    Layer l;
    make_layer(rng, l, 60, 1);
    const int head = rng.below(l.heads);
    EXPECT_LE(head_statistics(l.record, 0, head).max_abs_error, 1e-5);
    // An output that these weights did not make: the proof must say by how much.
    const int query = rng.below(l.length(0)), channel = rng.below(l.value_dim);
    l.record.attention.out.data<float>()[(query * l.heads + head) * l.value_dim + channel] += 0.25f;
    EXPECT_NEAR(head_statistics(l.record, 0, head).max_abs_error, 0.25, 1e-5);
  });
}

TEST(Statistics, VisibleNaNIsSeen) {
  Rng rng(5);
  Layer l;
  make_layer(rng, l, 20, 1);
  l.mask = AnyMask();
  l.record.k.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  l.attend_now();
  const HeadStatistics s = head_statistics(l.record, 0, 0);
  EXPECT_TRUE(std::isnan(s.entropy) && std::isnan(s.confidence) && std::isnan(s.max_abs_error));
}

TEST(Statistics, SameBitsForAnyNumberOfThreads) {
  Rng rng(11);
  std::vector<Layer> layers(3);
  for (Layer& l : layers) make_layer(rng, l, 90, 1);
  std::vector<models::LayerRecord> records;
  for (const Layer& l : layers) records.push_back(l.record);
  const int before = threads();
  set_threads(1);
  const auto one = all_statistics(records, 0);
  for (const int n : {2, 3, 7}) {
    set_threads(n);
    const auto many = all_statistics(records, 0);
    ASSERT_EQ(one.size(), many.size());
    for (std::size_t i = 0; i < one.size(); ++i) {
      EXPECT_EQ(one[i].head, many[i].head);
      EXPECT_EQ(one[i].entropy, many[i].entropy);
      EXPECT_EQ(one[i].distance, many[i].distance);
      EXPECT_EQ(one[i].max_abs_error, many[i].max_abs_error);
    }
  }
  set_threads(before);
}

TEST(Links, AreTheDenseTopK) {
  for_cases(200, [](Rng& rng) {
    std::vector<Layer> layers(static_cast<std::size_t>(rng.in(1, 3)));
    const double spread = rng.pick({0.0, 1.0, 1.0, 8.0});  // 0: all of a row's edges are ties
    make_layer(rng, layers[0], rng.chance(0.2) ? 150 : 40, spread);
    for (std::size_t i = 1; i < layers.size(); ++i) {  // same shape, other numbers
      Layer& l = layers[i];
      l = layers[0];
      l.record.q = random_tensor(rng, l.record.q.shape(), spread);
      l.record.k = random_tensor(rng, l.record.k.shape(), spread);
      l.record.layer = layers[0].record.layer + static_cast<int>(i);
      l.attend_now();
    }
    const int sequence = rng.below(static_cast<int>(layers[0].ends.size())), n = layers[0].length(sequence);
    Field field;
    for (const Layer& l : layers) field.layers.push_back(&l.record);
    for (int h = 0; h < layers[0].heads; ++h)
      if (rng.chance(0.8)) field.heads.push_back(h);
    for (int q = 0; q < n; ++q)
      if (rng.chance(0.7)) field.queries.push_back(q);
    if (rng.chance(0.5))
      for (int k = 0; k < n; ++k) field.left_out.push_back(rng.chance(0.3));
    const int top = rng.in(1, 30);

    using Ranked = std::tuple<double, int, int, int, int>;  // −weight, layer, head, query, key
    std::vector<Ranked> all;
    for (const auto* record : field.layers)
      for (const int h : field.heads)
        for (const int q : field.queries) {
          const std::vector<float> row = record->attention.weights({sequence, h, q});
          for (int k = 0; k < n; ++k)
            if (row[static_cast<std::size_t>(k)] > 0 &&
                (field.left_out.empty() || !field.left_out[static_cast<std::size_t>(k)]))
              all.emplace_back(-static_cast<double>(row[static_cast<std::size_t>(k)]), record->layer, h, q, k);
        }
    std::sort(all.begin(), all.end());
    all.resize(std::min(all.size(), static_cast<std::size_t>(top)));
    const std::vector<Link> links = strongest_links(field, sequence, top);
    ASSERT_EQ(links.size(), all.size());
    for (std::size_t i = 0; i < all.size(); ++i)
      EXPECT_EQ(std::tuple(-links[i].weight, links[i].layer, links[i].head, links[i].query, links[i].key), all[i]);
  });
}

/// What lets strongest_links pass rows over: nothing in a row is above its ceiling, which is little above what is
/// there.
TEST(Links, CeilingsHoldAndAreNear) {
  for_cases(200, [](Rng& rng) {
    Layer l;
    const double spread = rng.pick({0.0, 1.0, 8.0, 60.0});
    make_layer(rng, l, rng.chance(0.2) ? 150 : 40, spread);
    const int sequence = rng.below(static_cast<int>(l.ends.size())), head = rng.below(l.heads), n = l.length(sequence);
    std::vector<bool> left_out(static_cast<std::size_t>(n));
    const bool some = rng.chance(0.7);
    for (int i = rng.in(1, 3); some && i > 0; --i) left_out[static_cast<std::size_t>(rng.below(n))] = true;
    std::vector<int> queries;
    for (int q = 0; q < n; ++q)
      if (rng.chance(0.7)) queries.push_back(q);
    const HeadRows rows(l.record, sequence, head);
    const std::vector<double> ceilings = rows.ceilings(queries, some ? left_out : std::vector<bool>());
    ASSERT_EQ(ceilings.size(), queries.size());
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const std::vector<float> row = rows.weights({queries[i], queries[i] + 1});
      double most = 0, most_left_out = 0, share = 0;
      for (std::size_t k = 0; k < row.size(); ++k) {
        const auto a = static_cast<double>(row[k]);
        (left_out[k] ? most_left_out : most) = std::max(left_out[k] ? most_left_out : most, a);
        share += left_out[k] ? a : 0;
      }
      EXPECT_LE(most, ceilings[i]);
      const double near = 1e-5 * (1 + 4 * spread * spread * l.head_dim);  // great logits are off by their last digits
      EXPECT_LE(ceilings[i], std::min(std::max(most, most_left_out), 1 - share) + near);
    }
  });
}

TEST(Links, NumbersAreTheirDefinitions) {
  for_cases(200, [](Rng& rng) {
    Layer l;
    make_layer(rng, l, 20, 1);
    const int sequence = rng.below(static_cast<int>(l.ends.size())), head = rng.below(l.heads), n = l.length(sequence);
    const int query = rng.below(n), key = rng.below(n), kv = head / (l.heads / l.kv_heads);
    const double weight = dense(l, sequence, head)[static_cast<std::size_t>(query)][static_cast<std::size_t>(key)];
    std::vector<double> moved(static_cast<std::size_t>(l.value_dim));
    for (int c = 0; c < l.value_dim; ++c)
      moved[static_cast<std::size_t>(c)] = weight * at(l.record.v, {0, l.begin(sequence) + key, kv, c});
    const Link link = describe(l.record, sequence, head, query, key);
    EXPECT_NEAR(link.weight, weight, 1e-5);
    EXPECT_NEAR(link.lift, weight * visible_keys(l, sequence, head, query), 1e-4);
    EXPECT_NEAR(link.norm_weighted, norm(project(l, head, moved)), 1e-4);
  });
}

/// The same layer run by the kernel with one edge cut, through W_O.
TEST(Links, LocalEffectIsTheRerunWithTheEdgeCut) {
  int finite = 0;
  for_cases(300, [&](Rng& rng) {
    Layer l;
    make_layer(rng, l, 20, rng.chance(0.3) ? 4 : 1);
    const int sequence = rng.below(static_cast<int>(l.ends.size())), head = rng.below(l.heads);
    const int query = rng.below(l.length(sequence)), key = rng.below(l.length(sequence));
    const Link link = describe(l.record, sequence, head, query, key);
    Layer cut = l;
    cut.mask = AnyMask(l.mask & fovea::mask([=](Site s) {
                         return s.batch != sequence || s.head != head || s.query != query || s.key != key;
                       }));
    cut.attend_now();
    if (visible_keys(cut, sequence, head, query) == 0 && l.sinks.empty() && link.weight > 0) {
      EXPECT_TRUE(std::isinf(link.local_effect));
      return;
    }
    if (std::isinf(link.local_effect)) {
      EXPECT_GT(link.weight, 1 - 1e-6);
      return;
    }
    std::vector<double> change(static_cast<std::size_t>(l.value_dim));
    const int time = l.begin(sequence) + query;
    for (int c = 0; c < l.value_dim; ++c)
      change[static_cast<std::size_t>(c)] =
          at(cut.record.attention.out, {0, time, head, c}) - at(l.record.attention.out, {0, time, head, c});
    const double effect = norm(project(l, head, change));
    EXPECT_NEAR(link.local_effect, effect, 2e-5 * (1 + effect)) << "weight " << link.weight;
    ++finite;
  });
  EXPECT_GT(finite, 0);
}

TEST(Links, TheSlopedChangeOfASetOfEdgesIsTheDenseOne) {
  int checked = 0, drawn = 0;
  for_cases(300, [&](Rng& rng) {
    Layer l;
    make_layer(rng, l, 20, rng.chance(0.3) ? 4 : 1);
    const int sequence = rng.below(static_cast<int>(l.ends.size())), head = rng.below(l.heads);
    const int n = l.length(sequence), query = rng.below(n), kv = head / (l.heads / l.kv_heads);
    std::vector<int> keys;
    for (int j = 0; j < n; ++j)
      if (rng.chance(0.3)) keys.push_back(j);
    std::vector<float> g;
    for (int c = 0; c < l.value_dim; ++c) g.push_back(static_cast<float>(rng.normal()));
    const std::vector<double> a = dense(l, sequence, head)[static_cast<std::size_t>(query)];
    double taken = 0, expected = 0;
    for (const int j : keys) taken += a[static_cast<std::size_t>(j)];
    ++drawn;
    if (taken > 0.999) return;
    for (int j = 0; j < n; ++j) {
      const double was = a[static_cast<std::size_t>(j)],
                   is = std::ranges::find(keys, j) == keys.end() ? was / (1 - taken) : 0;
      for (int c = 0; c < l.value_dim; ++c)
        expected += (is - was) * static_cast<double>(g[static_cast<std::size_t>(c)]) *
                    at(l.record.v, {0, l.begin(sequence) + j, kv, c});
    }
    const double found = RowSums(l.record, sequence, head, query).sloped_change(keys, g);
    EXPECT_NEAR(found, expected, 2e-5 * (1 + std::abs(expected)) / (1 - taken));
    ++checked;
  });
  EXPECT_GT(2 * checked, drawn);
}

TEST(Links, ASaturatedEdgeKeepsItsDigits) {
  // Two keys, logits 0 and −x: the closed form in f32 would lose 1 − A.
  for (const double x : {1.0, 4.0, 8.0, 11.0, 14.0}) {
    Layer l;
    l.ends = {2}, l.width = 2;
    l.record.kind = "encoder";
    l.record.q = Tensor(DType::F32, {1, 2, 1, 1}), l.record.k = Tensor(DType::F32, {1, 2, 1, 1}),
    l.record.v = Tensor(DType::F32, {1, 2, 1, 1});
    l.record.q.data<float>()[0] = 1, l.record.k.data<float>()[1] = static_cast<float>(-x);
    l.record.v.data<float>()[0] = 3, l.record.v.data<float>()[1] = -1;
    l.output_weight = Tensor(DType::F32, {2, 1});
    l.output_weight.data<float>()[0] = 3, l.output_weight.data<float>()[1] = 4;
    l.attend_now();
    const double a = 1 / (1 + std::exp(-x)), without = -1, with = a * 3 + (1 - a) * -1;
    const double effect = describe(l.record, 0, 0, 0, 0).local_effect;
    EXPECT_NEAR(effect, 5 * std::abs(without - with), 1e-5) << "logit gap " << x;
  }
}

TEST(Links, AnEdgeThatIsTheWholeRowHasNoLocalEffect) {
  Rng rng(3);
  Layer l;
  make_layer(rng, l, 8, 1);
  l.mask = AnyMask(window(0, 0));  // each query sees itself alone
  l.sinks.clear();
  l.attend_now();
  const Link alone = describe(l.record, 0, 0, 0, 0);
  EXPECT_NEAR(alone.weight, 1, 1e-6);
  EXPECT_TRUE(std::isinf(alone.local_effect));
  l.sinks.assign(static_cast<std::size_t>(l.heads), 0.5f);  // a sink is left, so the edge can go: Δo is −A·v
  l.attend_now();
  const Link beside_sink = describe(l.record, 0, 0, 0, 0);
  EXPECT_NEAR(beside_sink.local_effect, beside_sink.norm_weighted, 1e-5);
}

}  // namespace
}  // namespace fovea::look
