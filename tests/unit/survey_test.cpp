// Weight against effect: every item is what measuring it alone says, and the figures over them are their definitions.
#include <algorithm>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "support/errors.hpp"
#include "support/text_bert.hpp"

namespace fovea {
namespace {

using testing::refuses;

constexpr const char* kText = "The bank by the river was flooded.";  // 10 tokens, 8 of them words

const fovea::Run& small_run() {
  static const fovea::Run run = [] {
    plain::Checkpoint c({.layers = 3});
    c.sharpen(8);
    return c.load()(kText);
  }();
  return run;
}

/// Spearman's ρ by counting: a rank is 1 + those below + half of the other equals.
double spearman(const std::vector<double>& x, const std::vector<double>& y) {
  const auto rank = [](const std::vector<double>& v, double at) {
    const auto below = std::ranges::count_if(v, [&](double z) { return z < at; });
    const auto equal = std::ranges::count(v, at);
    return static_cast<double>(below) + static_cast<double>(equal + 1) / 2;
  };
  const double n = static_cast<double>(x.size());
  double a = 0, b = 0, aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double p = rank(x, x[i]), q = rank(y, y[i]);
    a += p, b += q, aa += p * p, bb += q * q, ab += p * q;
  }
  return (ab - a * b / n) / std::sqrt((aa - a * a / n) * (bb - b * b / n));
}

void check_figures(const Survey& s) {
  std::vector<double> weight, local, effect;
  for (const Survey::Item& x : s.items)
    weight.push_back(x.weight), local.push_back(x.local_effect), effect.push_back(std::abs(x.effect));
  EXPECT_TRUE(std::ranges::is_sorted(effect, std::greater<>{}));
  EXPECT_NEAR(s.weight_correlation, spearman(weight, effect), 1e-9);
  EXPECT_NEAR(s.local_correlation, spearman(local, effect), 1e-9);
  const double heaviest = *std::ranges::max_element(weight);
  std::set<std::size_t> idle(s.idle.begin(), s.idle.end()), light(s.light.begin(), s.light.end());
  for (std::size_t i = 0; i < s.items.size(); ++i) {
    EXPECT_EQ(idle.contains(i), weight[i] >= heaviest / 2 && effect[i] < effect.front() / 2);
    EXPECT_EQ(light.contains(i), effect[i] >= effect.front() / 4 && weight[i] < heaviest / 2);
    EXPECT_FALSE(idle.contains(i) && light.contains(i));
  }
  EXPECT_TRUE(std::ranges::is_sorted(s.idle, {}, [&](std::size_t i) { return effect[i]; }));
  EXPECT_TRUE(std::ranges::is_sorted(s.light, {}, [&](std::size_t i) { return weight[i]; }));
}

TEST(Survey, PairsAreWhatMeasuringThemAloneSays) {
  const fovea::Run& run = small_run();
  const Survey s = run.survey({.layers = {0, 2}, .heads = {1, 2}});
  EXPECT_EQ(s.metric, "cosine_distance");
  ASSERT_EQ(s.items.size(), 80u);
  std::set<std::pair<int, int>> seen;
  for (const Survey::Item& x : s.items) {
    EXPECT_FALSE(run.tokens[static_cast<std::size_t>(x.query)].special);
    EXPECT_TRUE(seen.insert({x.query, x.key}).second);
    EXPECT_EQ(x.layer, -1);
    const Effect e =
        run.measure({.from = std::to_string(x.query), .to = std::to_string(x.key), .layers = {0, 2}, .heads = {1, 2}});
    EXPECT_EQ(x.effect, e.effect);
    EXPECT_EQ(x.weight, e.weight);
    EXPECT_EQ(x.local_effect, e.local_effect);
  }
  check_figures(s);
}

TEST(Survey, EdgesAreWhatMeasuringTheirLinksSays) {
  const fovea::Run& run = small_run();
  const Survey s = run.survey({.unit = SurveyQuery::Unit::Edges, .token = "bank"});
  ASSERT_EQ(s.items.size(), 3u * 3 * 10);
  std::vector<Link> links(s.items.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    const Survey::Item& x = s.items[i];
    EXPECT_EQ(x.query, 2);
    links[i].kind = "encoder", links[i].query = x.query, links[i].key = x.key;
    links[i].layer = x.layer, links[i].head = x.head;
  }
  const std::vector<Effect> effects = run.measure(links);
  for (std::size_t i = 0; i < links.size(); ++i) {
    EXPECT_EQ(s.items[i].effect, effects[i].effect);
    EXPECT_EQ(s.items[i].weight, effects[i].weight);
  }
  check_figures(s);
}

TEST(Survey, AHeadIsSilencedByTheZerosOfItsValues) {
  plain::Checkpoint c({.layers = 3});
  c.sharpen(8);
  const fovea::Run run = c.load()(kText);
  std::vector<int> ids, words;
  for (const Token& t : run.tokens) {
    ids.push_back(t.id);
    if (!t.special) words.push_back(t.index);
  }
  const Survey s = run.survey({.unit = SurveyQuery::Unit::Heads});
  ASSERT_EQ(s.items.size(), 9u);
  const plain::Matrix before = plain::run_bert(c.store, c.size, ids).hidden.back();
  std::vector<double> local, effect;
  for (const Survey::Item& x : s.items) {
    EXPECT_EQ(x.query, -1);
    const auto zero = [&](int layer, int head, int) { return layer == x.layer && head == x.head; };
    const plain::Matrix after = plain::run_bert(c.store, c.size, ids, {}, {}, plain::gelu, zero).hidden.back();
    double distance = 0;
    for (const int w : words) {
      const plain::Row &a = before[static_cast<std::size_t>(w)], &b = after[static_cast<std::size_t>(w)];
      double ab = 0, aa = 0, bb = 0;
      for (std::size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
      distance += (1 - ab / std::sqrt(aa * bb)) / static_cast<double>(words.size());
    }
    EXPECT_GT(distance, 1e-5);
    EXPECT_NEAR(x.effect, distance, 2e-6 + 1e-4 * distance);
    EXPECT_GT(x.local_effect, 0);
    local.push_back(x.local_effect), effect.push_back(x.effect);
  }
  EXPECT_NEAR(s.local_correlation, spearman(local, effect), 1e-9);
  EXPECT_TRUE(std::ranges::is_sorted(s.idle, {}, [&](std::size_t i) { return effect[i]; }));
  for (const std::size_t i : s.idle) EXPECT_GE(2 * local[i], *std::ranges::max_element(local));
}

TEST(Survey, WordsAtAMaskCountForIt) {
  const fovea::Run run = load(FOVEA_TEST_DATA "/bert_masked_lm")("the old [MASK] by the river is dark.");
  const Survey s = run.survey({.token = "[MASK]", .target = "bank", .against = "money"});
  EXPECT_EQ(s.metric, "log_odds");
  ASSERT_EQ(s.items.size(), run.tokens.size());
  for (const Survey::Item& x : s.items)
    EXPECT_EQ(
        x.effect,
        run.measure({.from = "[MASK]", .to = std::to_string(x.key), .target = "bank", .against = "money"}).effect);
  check_figures(s);
}

TEST(Survey, RefusesWhatWouldTakeHours) {
  const plain::Checkpoint c({.positions = 300});
  std::string text = "the";
  for (int i = 0; i < 280; ++i) text += " river";
  const fovea::Run run = c.load()(text);  // 283 tokens
  EXPECT_TRUE(refuses([&] { run.survey({}); }, {"79523 reruns", "283 tokens", "one query"}));
  EXPECT_TRUE(refuses([&] { run.survey({.token = "money"}); }, {"\"money\""}));
  EXPECT_TRUE(refuses([&] { run.survey({.layers = {2}}); }, {"layer 2"}));
}

}  // namespace
}  // namespace fovea
