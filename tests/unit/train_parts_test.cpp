// What training is made of, part by part: the optimiser, the schedule, batches, first weights, recipes.
#include <cmath>
#include <numbers>
#include <numeric>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/errors.hpp"
#include "support/random.hpp"
#include "support/scratch.hpp"
#include "train/adamw.hpp"
#include "train/batches.hpp"
#include "train/marian_start.hpp"
#include "train/recipe.hpp"
#include "train/schedule.hpp"

namespace fovea::train {
namespace {

using nlohmann::json;
using testing::message_of;
using testing::refuses;
using testing::Rng;

// ----------------------------------------------------------------------------------------------------------- optimiser

Tensor random_tensor(Rng& rng, const Shape& shape) {
  Tensor t(DType::F32, shape);
  for (float& x : t.values<float>()) x = static_cast<float>(rng.normal());
  return t;
}

/// The formula of adamw.hpp, element by element, in double.
struct PlainAdamW {
  AdamWSettings settings;
  std::vector<double> p, m, v;
  double decay;

  PlainAdamW(const Tensor& parameter, const AdamWSettings& s)
      : settings(s), decay(parameter.shape().rank() > 1 ? s.weight_decay : 0) {
    for (const float x : parameter.values<float>()) p.push_back(double{x});
    m.resize(p.size()), v.resize(p.size());
  }
  void step(int t, const Tensor& gradient, double rate, double factor) {
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = factor * double{gradient.values<float>()[i]};
      m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * g;
      v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * g * g;
      const double first = m[i] / (1 - std::pow(settings.beta1, t)), second = v[i] / (1 - std::pow(settings.beta2, t));
      p[i] -= rate * (first / (std::sqrt(second) + settings.eps) + decay * p[i]);
    }
  }
  void expect(const Tensor& got) const {
    for (std::size_t i = 0; i < p.size(); ++i) ASSERT_NEAR(double{got.values<float>()[i]}, p[i], 3e-6) << i;
  }
};

TEST(AdamW, FollowsItsFormulaWithDecayOfMatricesAlone) {
  for (const AdamWSettings& settings :
       {AdamWSettings{.weight_decay = 0.1}, AdamWSettings{.beta2 = 0.999999, .weight_decay = 0}}) {
    Rng rng(7);
    // More than one chunk of the parallel loop, and no whole number of them.
    const NamedTensors parameters{{"matrix", random_tensor(rng, {130, 131})}, {"bias", random_tensor(rng, {33})}};
    PlainAdamW matrix(parameters.at("matrix"), settings), bias(parameters.at("bias"), settings);
    AdamW optimiser(parameters, settings);
    for (int t = 1; t <= 6; ++t) {
      const NamedTensors gradients{{"matrix", random_tensor(rng, {130, 131})}, {"bias", random_tensor(rng, {33})}};
      const double rate = 0.01 * t, factor = t % 2 == 0 ? 0.25 : 1;
      optimiser.step(gradients, rate, factor);
      matrix.step(t, gradients.at("matrix"), rate, factor), bias.step(t, gradients.at("bias"), rate, factor);
    }
    EXPECT_EQ(optimiser.steps(), 6);
    matrix.expect(parameters.at("matrix"));
    bias.expect(parameters.at("bias"));
  }
}

TEST(AdamW, GoesOnFromItsMomentsToTheSameBits) {
  Rng rng(8);
  const Tensor start = random_tensor(rng, {17, 5});
  std::vector<NamedTensors> gradients;
  for (int i = 0; i < 4; ++i) gradients.push_back({{"w", random_tensor(rng, {17, 5})}});
  const NamedTensors one{{"w", start.clone()}}, other{{"w", start.clone()}};
  AdamW whole(one, {});
  for (const NamedTensors& g : gradients) whole.step(g, 0.01, 1);
  AdamW before(other, {});
  for (int i = 0; i < 2; ++i) before.step(gradients[static_cast<std::size_t>(i)], 0.01, 1);
  AdamW after(other, {});
  after.restore(before.steps(), before.first(), before.second());
  for (std::size_t i = 2; i < 4; ++i) after.step(gradients[i], 0.01, 1);
  EXPECT_TRUE(std::ranges::equal(one.at("w").values<float>(), other.at("w").values<float>()));
  EXPECT_EQ(after.steps(), 4);
}

TEST(AdamW, NormIsOfAllTensorsTogether) {
  Tensor a(DType::F32, {2}), b(DType::F32, {1, 1});
  a.values<float>()[0] = 3, a.values<float>()[1] = 4, b.values<float>()[0] = 12;
  EXPECT_DOUBLE_EQ(global_norm({{"a", a}, {"b", b}}), 13);
}

// ------------------------------------------------------------------------------------------------------------ schedule

TEST(Schedule, LinearWarmsUpHoldsAndFallsToNothing) {
  const Schedule s{.peak = 2, .warmup = 4, .steps = 20, .hold = 0.5, .fall = Fall::Linear};
  EXPECT_DOUBLE_EQ(s(0), 0.5);
  EXPECT_DOUBLE_EQ(s(1), 1.0);
  for (int step = 3; step <= 10; ++step) EXPECT_DOUBLE_EQ(s(step), 2.0) << step;
  EXPECT_DOUBLE_EQ(s(15), 1.0);
  EXPECT_NEAR(s(19), 0.2, 1e-15);
  EXPECT_DOUBLE_EQ(s(20), 0.0);
}

TEST(Schedule, CosineFallsAlongHalfAWave) {
  const Schedule s{.peak = 2, .warmup = 4, .steps = 20, .hold = 0.3, .fall = Fall::Cosine};
  EXPECT_DOUBLE_EQ(s(0), 0.5);
  EXPECT_DOUBLE_EQ(s(4), 2.0);
  EXPECT_DOUBLE_EQ(s(8), 1 + std::numbers::sqrt2 / 2);
  EXPECT_DOUBLE_EQ(s(12), 1.0);
  EXPECT_NEAR(s(20), 0.0, 1e-15);
}

TEST(Schedule, InverseRootFallsFromTheEndOfTheWarmUp) {
  const Schedule s{.peak = 2, .warmup = 4, .steps = 100, .hold = 0.3, .fall = Fall::InverseRoot};
  EXPECT_DOUBLE_EQ(s(1), 1.0);
  EXPECT_DOUBLE_EQ(s(3), 2.0);
  EXPECT_DOUBLE_EQ(s(15), 1.0);  // 2 · √(4 / 16)
  EXPECT_DOUBLE_EQ(s(63), 0.5);
}

TEST(Schedule, NeedsNoWarmUp) {
  for (const Fall fall : {Fall::Linear, Fall::Cosine, Fall::InverseRoot})
    EXPECT_DOUBLE_EQ((Schedule{.peak = 3, .warmup = 0, .steps = 10, .hold = 0, .fall = fall})(0), 3.0);
}

// ------------------------------------------------------------------------------------------------------------- batches

std::vector<Pair> random_pairs(int count) {
  Rng rng(11);
  std::vector<Pair> pairs;
  for (int i = 0; i < count; ++i)
    pairs.push_back({std::vector<int>(static_cast<std::size_t>(rng.in(1, 40))),
                     std::vector<int>(static_cast<std::size_t>(rng.in(1, 40)))});
  return pairs;
}

std::int64_t tokens_of(const std::vector<Pair>& pairs, const std::vector<int>& batch) {
  std::int64_t n = 0;
  for (const int i : batch)
    n += std::ssize(pairs[static_cast<std::size_t>(i)].source) + std::ssize(pairs[static_cast<std::size_t>(i)].target);
  return n;
}

/// The batches of the first `count` in all.
std::vector<std::vector<int>> first_batches(const std::vector<Pair>& pairs, std::uint64_t seed, std::int64_t count) {
  Batches batches(pairs, 300, seed);
  std::vector<std::vector<int>> all;
  for (std::int64_t n = 0; n < count; ++n) all.push_back(batches(n));
  return all;
}

/// How many batches hold as many pairs as there are.
std::int64_t in_a_pass(Batches& batches, const std::vector<Pair>& pairs) {
  std::int64_t n = 0;
  for (std::size_t seen = 0; seen < pairs.size(); ++n) seen += batches(n).size();
  return n;
}

TEST(Batches, HoldEachPairOnceAPassWithinTheBudget) {
  const std::vector<Pair> pairs = random_pairs(6500);  // more than are sorted at once
  Batches batches(pairs, 300, 1);
  const std::int64_t pass = in_a_pass(batches, pairs);
  std::vector<int> seen;
  std::int64_t tokens = 0;
  for (std::int64_t n = 0; n < pass; ++n) {
    const std::vector<int> batch = batches(n);
    EXPECT_LE(tokens_of(pairs, batch), 300);
    tokens += tokens_of(pairs, batch);
    seen.insert(seen.end(), batch.begin(), batch.end());
  }
  std::ranges::sort(seen);
  std::vector<int> each(pairs.size());
  std::iota(each.begin(), each.end(), 0);
  EXPECT_EQ(seen, each);
  EXPECT_GT(tokens, 300 * pass * 8 / 10);  // the budget is used
}

TEST(Batches, HoldPairsOfSimilarLength) {
  const std::vector<Pair> pairs = random_pairs(3000);
  Batches batches(pairs, 300, 1);
  const std::int64_t pass = in_a_pass(batches, pairs);
  double spread = 0;
  for (std::int64_t n = 0; n < pass; ++n) {
    std::size_t least = 1000, most = 0;
    for (const int i : batches(n)) {
      const std::size_t length = pairs[static_cast<std::size_t>(i)].source.size();
      least = std::min(least, length), most = std::max(most, length);
    }
    spread += static_cast<double>(most - least) / static_cast<double>(pass);
  }
  EXPECT_LT(spread, 1);
}

TEST(Batches, AreTheSameInWhateverOrderTheyAreAskedFor) {
  const std::vector<Pair> pairs = random_pairs(200);
  const auto all = first_batches(pairs, 5, 100);  // several passes
  Batches batches(pairs, 300, 5);
  ASSERT_LT(in_a_pass(batches, pairs) * 2, 100);
  Rng rng(3);
  for (const int n : rng.permutation(100)) EXPECT_EQ(batches(n), all[static_cast<std::size_t>(n)]) << n;
}

TEST(Batches, DifferBetweenPassesAndSeeds) {
  const std::vector<Pair> pairs = random_pairs(200);
  Batches batches(pairs, 300, 5);
  const std::int64_t pass = in_a_pass(batches, pairs);
  const auto all = first_batches(pairs, 5, pass * 2), other = first_batches(pairs, 6, pass);
  const auto part = [&](const auto& list, std::int64_t from) {
    return std::vector(list.begin() + from, list.begin() + from + pass);
  };
  EXPECT_NE(part(all, 0), part(all, pass));
  EXPECT_NE(part(all, 0), part(other, 0));
}

TEST(Batches, APairBeyondTheBudgetStandsAlone) {
  const std::vector<Pair> pairs{{std::vector<int>(50), std::vector<int>(50)}, {{1}, {1}}, {{1, 1}, {1}}};
  Batches batches(pairs, 10, 1);
  EXPECT_EQ(in_a_pass(batches, pairs), 2);
  EXPECT_TRUE(refuses([] { Batches({}, 10, 1); }, {"no pairs"}));
}

// ------------------------------------------------------------------------------------------------------- first weights

TEST(MarianStart, IsNormalMatricesGainsOfOneAndZeros) {
  const MarianSizes sizes{.vocabulary = 500, .positions = 32, .width = 64, .feed_forward = 128, .heads = 4};
  const MarianStart start(sizes, 3);
  double worst = 0;
  for (const std::string& name : start.names()) {
    const Tensor t = start.tensor(name);
    ASSERT_EQ(t.shape().str(), start.info(name).shape.str());
    double sum = 0, squares = 0;
    for (const float x : t.values<float>()) sum += double{x}, squares += double{x} * double{x};
    const auto n = static_cast<double>(t.elements());
    if (name.ends_with("norm.weight")) {
      EXPECT_EQ(sum, n) << name;
      EXPECT_EQ(squares, n) << name;
    } else if (t.shape().rank() == 1 || name == "final_logits_bias") {
      EXPECT_EQ(squares, 0) << name;
    } else {  // an estimate of a deviation from n numbers is itself off by 1/√2n
      const double deviation = 0.6 / std::sqrt(64.0);
      worst = std::max(worst, std::abs(std::sqrt(squares / n) / deviation - 1) * std::sqrt(2 * n));
      EXPECT_LT(std::abs(sum / n), 5 * deviation / std::sqrt(n)) << name;
    }
  }
  EXPECT_LT(worst, 5);
}

TEST(MarianStart, DependsOnSeedAndNameAlone) {
  const MarianSizes small{.vocabulary = 50, .width = 32, .encoder_layers = 1};
  MarianSizes deep = small;
  deep.encoder_layers = 3;
  const std::string name = "model.encoder.layers.0.fc1.weight", other = "model.decoder.layers.0.fc1.weight";
  const auto bits = [](const Tensor& t) {
    return std::vector<float>(t.values<float>().begin(), t.values<float>().end());
  };
  EXPECT_EQ(bits(MarianStart(small, 1).tensor(name)), bits(MarianStart(deep, 1).tensor(name)));
  EXPECT_NE(bits(MarianStart(small, 1).tensor(name)), bits(MarianStart(small, 2).tensor(name)));
  EXPECT_NE(bits(MarianStart(small, 1).tensor(name)), bits(MarianStart(small, 1).tensor(other)));
}

// ------------------------------------------------------------------------------------------------------------- recipes

Recipe parsed(const char* text) { return recipe_of(json::parse(text), "folder/mine.json"); }

TEST(Recipe, EveryComplaintNamesFileAndKey) {
  const struct {
    const char* text;
    std::vector<std::string_view> parts;
  } cases[] = {
      {R"([])", {"array", "expected an object"}},
      {R"({"model": 3})", {"model", "number", "expected an object"}},
      {R"({"modle": {}})", {"\"modle\"", "known are data, model, training"}},
      {R"({"model": {"depth": 3}})", {"\"depth\"", "no key of model", "encoder_layers, decoder_layers"}},
      {R"({"training": {"lr": 3}})", {"\"lr\"", "no key of training", "learning_rate"}},
      {R"({"data": {"line\nbreak": 3}})", {"line\\x0abreak", "no key of data"}},
      {R"({"model": {"width": "128"}})", {"\"width\"", "\"128\"", "a whole number"}},
      {R"({"model": {"width": 128.0}})", {"\"width\"", "a whole number"}},
      {R"({"training": {"learning_rate": true}})", {"\"learning_rate\"", "true", "a number"}},
      {R"({"training": {"steps": 0}})", {"\"steps\"", "0", "from 1"}},
      {R"({"training": {"seed": -1}})", {"\"seed\"", "-1", "from 0"}},
      {R"({"training": {"beta2": 1}})", {"\"beta2\"", "0.999999"}},
      {R"({"training": {"hold": 1}})", {"\"hold\"", "0.999"}},
      {R"({"model": {"dropout": 1}})", {"\"dropout\"", "0.99"}},
      {R"({"data": {"pairs": 10000001}})", {"\"pairs\"", "10000000"}},
      {R"({"model": {"width": 30, "heads": 4}})", {"width is 30", "heads is 4", "multiple"}},
      {R"({"training": {"schedule": "step"}})", {"schedule", "\"step\"", "\"linear\", \"cosine\" or \"inverse_root\""}},
      {R"({"training": {"schedule": 1}})", {"\"schedule\"", "a string"}},
      {R"({"training": {"products": "fp8"}})", {"products", "\"fp8\"", "\"f32\" or \"bf16\""}},
      {R"({"data": {"language": "Latin"}})", {"language", "\"Latin\"", "\"demo\""}},
      {R"({"data": {"source": "a.en", "tokenizer": "t.json"}})", {"\"target\""}},
      {R"({"data": {"source": "a.en", "target": "a.fr", "tokenizer": "t.json", "vocabulary": 9}})", {"\"tokenizer\""}},
      {R"({"data": {"source": "a.en", "target": "a.fr", "vocabulary": 3}})", {"\"vocabulary\"", "3", "from 4"}},
      {R"({"data": {"vocabulary": 9}})", {"\"source\""}},
      {R"({"data": {"tokenizer": "t.json"}})", {"\"source\""}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    std::vector<std::string_view> parts = c.parts;
    parts.push_back("folder/mine.json: ");
    EXPECT_TRUE(refuses([&] { parsed(c.text); }, parts));
  }
}

TEST(Recipe, SaysWhatItSays) {
  const Recipe r = parsed(R"({"data": {"source": "a.en", "target": "/b.fr", "tokenizer": "t.json"},
    "model": {"width": 48, "heads": 3, "feed_forward": 96, "encoder_layers": 2, "decoder_layers": 3, "positions": 40, "dropout": 0.2},
    "training": {"seed": 5, "steps": 7, "tokens_per_batch": 99, "accumulate": 2, "learning_rate": 0.5, "schedule": "cosine",
                 "warmup": 3, "beta1": 0.8, "beta2": 0.7, "eps": 1e-6, "weight_decay": 0.25, "clip": 0, "label_smoothing": 0.125,
                 "shift": 4, "shift_chance": 0.75, "products": "bf16", "report_every": 6, "checkpoint_every": 8}})");
  ASSERT_TRUE(r.files.has_value());
  EXPECT_EQ(r.files->source, "folder/a.en");
  EXPECT_EQ(r.files->target, "/b.fr");
  EXPECT_EQ(r.model.width, 48);
  EXPECT_EQ(r.model.heads, 3);
  EXPECT_EQ(r.model.feed_forward, 96);
  EXPECT_EQ(r.model.encoder_layers, 2);
  EXPECT_EQ(r.model.decoder_layers, 3);
  EXPECT_EQ(r.model.positions, 40);
  EXPECT_EQ(r.model.dropout, 0.2);
  EXPECT_EQ(r.seed, 5u);
  EXPECT_EQ(r.step.seed, 5u);
  EXPECT_EQ(r.step.accumulate, 2);
  EXPECT_EQ(r.tokens_per_batch, 99);
  EXPECT_EQ(r.schedule.steps, 7);
  EXPECT_EQ(r.schedule.warmup, 3);
  EXPECT_EQ(r.schedule.peak, 0.5);
  EXPECT_EQ(r.schedule.fall, Fall::Cosine);
  EXPECT_EQ(r.optimiser.beta1, 0.8);
  EXPECT_EQ(r.optimiser.beta2, 0.7);
  EXPECT_EQ(r.optimiser.eps, 1e-6);
  EXPECT_EQ(r.optimiser.weight_decay, 0.25);
  EXPECT_EQ(r.step.clip, 0);
  EXPECT_EQ(r.step.label_smoothing, 0.125f);
  EXPECT_EQ(r.step.products, Products::Bf16);
  EXPECT_EQ(r.step.shift, 4);
  EXPECT_EQ(r.step.shift_chance, 0.75);
  EXPECT_EQ(r.report_every, 6);
  EXPECT_EQ(r.checkpoint_every, 8);
}

TEST(Recipe, OfTheDemoIsTheFileInTheTree) {
  const Recipe r = recipe_of(json::parse(demo_recipe_text()), "demo");
  EXPECT_FALSE(r.files.has_value());
  EXPECT_EQ(r.pairs, 300'000);
  EXPECT_EQ(r.model.encoder_layers, 4);
  EXPECT_EQ(r.model.decoder_layers, 1);
  EXPECT_EQ(testing::bytes_of(FOVEA_SOURCE "/demo/recipe.json"), demo_recipe_text());
  EXPECT_EQ(read_recipe(FOVEA_SOURCE "/demo/recipe.json").schedule.steps, r.schedule.steps);
  EXPECT_TRUE(refuses([] { read_recipe("no/such.json"); }, {"no/such.json"}));
}

TEST(Recipe, OfTheManualIsOneAndTheManualNamesEveryKey) {
  const std::string manual = testing::bytes_of(FOVEA_SOURCE "/docs/train.md");
  const std::size_t begin = manual.find("```json\n") + 8;
  const Recipe r = recipe_of(json::parse(manual.substr(begin, manual.find("```", begin) - begin)), "docs/train.md");
  ASSERT_TRUE(r.files.has_value());
  EXPECT_EQ(r.files->source, "docs/train.en");
  EXPECT_EQ(r.held_out, 500);
  for (const char* section : {"data", "model", "training"}) {
    const std::string known = message_of([&] { recipe_of(json{{section, {{"?", 1}}}}, "docs/train.md"); });
    std::istringstream keys(known.substr(known.find("known are ") + 10));
    int count = 0;
    for (std::string key; std::getline(keys >> std::ws, key, ','); ++count)
      EXPECT_NE(manual.find("`" + key + "`"), std::string::npos) << section << "." << key;
    EXPECT_GE(count, 8) << known;
  }
}

}  // namespace
}  // namespace fovea::train
