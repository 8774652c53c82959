// One step of learning: what it makes of a batch, of several at a time, and of gradients too large or no numbers at
// all.
#include <cmath>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/marian.hpp"
#include "support/isa.hpp"
#include "support/random.hpp"
#include "train/training.hpp"

namespace fovea::train {
namespace {

using testing::Rng;

/// A Marian over a vocabulary of 20 that learns from batches that a test makes.
struct Small {
  std::shared_ptr<models::Marian> model;
  NamedTensors parameters;
  std::unique_ptr<Learner> learner;

  explicit Small(const StepSettings& settings, const AdamWSettings& optimiser = {}) {
    const MarianSizes sizes{20, 16, 32, 64, 2, 1, 1, 0.0};
    const MarianStart start(sizes, 1);
    const nn::Weights weights(start, nn::Purpose::Training);
    model = std::make_shared<models::Marian>(
        models::marian_config(nlohmann::json::parse(marian_config_json(sizes).dump()), "small"), weights);
    parameters = weights.trainable();
    learner = std::make_unique<Learner>(model, parameters, optimiser, settings);
  }
};

/// Random texts, and the same backwards.
std::vector<Pair> backwards(int count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Pair> pairs;
  for (int i = 0; i < count; ++i) {
    Pair p;
    for (int n = rng.in(1, 8); n > 0; --n) p.source.push_back(rng.in(3, 19));
    p.target.assign(p.source.rbegin(), p.source.rend());
    p.source.push_back(1), p.target.push_back(1);
    pairs.push_back(std::move(p));
  }
  return pairs;
}

constexpr StepSettings kPlain{.label_smoothing = 0, .clip = 0, .shift = 0, .shift_chance = 0};

TEST(Learner, LearnsABatchByHeart) {
  Small small(StepSettings{.label_smoothing = 0, .shift = 0});
  const std::vector<std::vector<Pair>> batches{backwards(8, 2)};
  const double before = small.learner->step(0, batches, 3e-3).loss;
  double after = before;
  for (int step = 1; step < 300 && after >= 0.1; ++step) after = small.learner->step(step, batches, 3e-3).loss;
  EXPECT_GT(before, 2);
  EXPECT_LT(after, 0.1);
}

/// Gradients of one step from the same start, one after another.
std::vector<double> gradients_of(Products products, const std::vector<Pair>& batch) {
  StepSettings settings = kPlain;
  settings.products = products;
  Small small(settings);
  small.learner->step(0, std::vector<std::vector<Pair>>{batch}, 1e-3);
  std::vector<double> all;
  for (const auto& [name, moment] : small.learner->optimiser().first())  // a tenth of the gradient
    for (const float x : moment.values<float>()) all.push_back(double{x});
  return all;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double off = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) off += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(off / size);
}

TEST(Learner, Bf16ProductsRoundWhatTheyMultiplyAndNothingElse) {
  const std::vector<Pair> batch = backwards(8, 7);
  const std::vector<double> exact = gradients_of(Products::F32, batch);
  std::vector<double> widened;
  {
    const testing::UseIsa use("scalar");
    widened = gradients_of(Products::Bf16, batch);
  }
  EXPECT_GT(distance(widened, exact), 1e-4);  // 2⁻⁹ of each factor, through ten layers there and back
  EXPECT_LT(distance(widened, exact), 0.02);
  for (const char* isa : {"avx512bf16-emulated", "amx-emulated"}) {
    const testing::UseIsa use(isa);
    EXPECT_LT(distance(gradients_of(Products::Bf16, batch), widened), 5e-3)
        << isa;  // a sum's last bit may round otherwise
  }
}

TEST(Learner, LearnsABatchByHeartOfBf16Products) {
  Small small(StepSettings{.label_smoothing = 0, .shift = 0, .products = Products::Bf16});
  const std::vector<std::vector<Pair>> batches{backwards(8, 2)};
  double after = 10;
  for (int step = 0; step < 300 && after >= 0.1; ++step) after = small.learner->step(step, batches, 3e-3).loss;
  EXPECT_LT(after, 0.1);
  bool finer = false;  // weights themselves keep what bf16 cannot hold
  for (const auto& [name, weight] : small.parameters)
    for (const float w : weight.values<float>()) finer = finer || w != static_cast<float>(bf16(w));
  EXPECT_TRUE(finer);
}

TEST(Learner, BatchesAddedUpAreOneLargeBatch) {
  const std::vector<Pair> first = backwards(5, 3), second = backwards(3, 4);
  std::vector<Pair> both = first;
  both.insert(both.end(), second.begin(), second.end());
  Small parts(kPlain), whole(kPlain);
  const StepReport a = parts.learner->step(0, std::vector{first, second}, 1e-3),
                   b = whole.learner->step(0, std::vector<std::vector<Pair>>{both}, 1e-3);
  EXPECT_NEAR(a.loss, b.loss, 1e-5);
  EXPECT_NEAR(a.norm, b.norm, 1e-5);
  EXPECT_EQ(a.tokens, b.tokens);
  double most = 0;
  for (const auto& [name, moment] : whole.learner->optimiser().first()) {  // a tenth of the gradient
    const auto mine = parts.learner->optimiser().first().at(name).values<float>(), other = moment.values<float>();
    for (std::size_t i = 0; i < other.size(); ++i) {
      EXPECT_NEAR(mine[i], other[i], 1e-6) << name;
      most = std::max(most, std::abs(double{other[i]}));
    }
  }
  EXPECT_GT(most, 1e-3);
}

TEST(Learner, ClipsTheGradientToItsNorm) {
  const std::vector<std::vector<Pair>> batches{backwards(5, 3)};
  Small free(kPlain), clipped(StepSettings{.label_smoothing = 0, .clip = 0.01, .shift = 0});
  const double norm = free.learner->step(0, batches, 1e-3).norm;
  EXPECT_EQ(clipped.learner->step(0, batches, 1e-3).norm, norm);  // reported as it was
  EXPECT_NEAR(global_norm(free.learner->optimiser().first()), 0.1 * norm, 1e-5);
  EXPECT_NEAR(global_norm(clipped.learner->optimiser().first()), 0.1 * 0.01, 1e-7);
}

TEST(Learner, ShiftsNoTextBeyondThePositions) {
  Small small(StepSettings{.shift = 1000, .shift_chance = 1});
  for (int step = 0; step < 20; ++step)
    EXPECT_TRUE(std::isfinite(
        small.learner->step(step, std::vector<std::vector<Pair>>{backwards(3, static_cast<std::uint64_t>(step))}, 1e-3)
            .loss));
}

/// Every value that a step could have changed.
std::vector<float> all_values(const Small& small) {
  std::vector<float> all;
  for (const NamedTensors* kind :
       {&small.parameters, &small.learner->optimiser().first(), &small.learner->optimiser().second()})
    for (const auto& [name, t] : *kind) all.insert(all.end(), t.values<float>().begin(), t.values<float>().end());
  return all;
}

TEST(Learner, AGradientThatIsNoNumberChangesNothing) {
  Small small(kPlain);
  const auto fill = [&](const char* name, float factor, float plus) {
    for (float& x : small.parameters.at(name).values<float>()) x = factor * x + plus;
  };
  // Keys of 0 and values of a usual size keep the loss finite; what goes back to the keys' weights is beyond f32.
  fill("model.encoder.layers.0.final_layer_norm.weight", 1e20f, 0);
  fill("model.decoder.layers.0.encoder_attn.k_proj.weight", 0, 0);
  fill("model.decoder.layers.0.encoder_attn.q_proj.bias", 0, 1e30f);
  fill("model.decoder.layers.0.encoder_attn.v_proj.weight", 1e-20f, 0);
  const std::vector<float> before = all_values(small);
  const StepReport report = small.learner->step(0, std::vector<std::vector<Pair>>{backwards(5, 3)}, 1e-3);
  EXPECT_TRUE(std::isfinite(report.loss)) << report.loss;
  EXPECT_FALSE(std::isfinite(report.norm)) << report.norm;
  EXPECT_EQ(all_values(small), before);
  EXPECT_EQ(small.learner->optimiser().steps(), 0);
}

}  // namespace
}  // namespace fovea::train
