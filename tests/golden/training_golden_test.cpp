// Two hundred steps of learning beside PyTorch's: data/training.safetensors, made by training_goldens.py. The same
// weights at first and the same batches; the loss and the norm of the gradient at every step.
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.hpp"
#include "models/marian.hpp"
#include "train/learner.hpp"
#include "train/marian_start.hpp"
#include "train/schedule.hpp"

namespace fovea::train {
namespace {

constexpr int kBatch = 4, kEos = 1;

/// The weights of the file, as layers ask for them.
class Stored final : public nn::TensorSource {
 public:
  explicit Stored(const io::SafeTensors& file) : file_(file) {}
  std::string where() const override { return file_.where(); }
  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const std::string& name : file_.names())
      if (name.starts_with("start.")) all.push_back(name.substr(6));
    return all;
  }
  bool contains(const std::string& name) const override { return file_.contains("start." + name); }
  nn::StoredTensor info(const std::string& name) const override {
    const Tensor t = tensor(name);
    return {t.dtype(), name_of(t.dtype()), t.shape()};
  }
  Tensor tensor(const std::string& name) const override { return file_.tensor("start." + name); }

 private:
  const io::SafeTensors& file_;
};

/// A text ends with EOS, and its target is the text turned.
std::vector<Pair> pairs_of(const io::SafeTensors& file) {
  const Tensor sources = file.tensor("sources");
  std::vector<Pair> pairs(1);
  for (const int id : sources.values<std::uint8_t>()) {
    pairs.back().source.push_back(id);
    if (id != kEos) continue;
    auto& [source, target] = pairs.back();
    target.assign(source.rbegin() + 1, source.rend());
    target.push_back(kEos);
    pairs.emplace_back();
  }
  pairs.pop_back();
  return pairs;
}

TEST(TrainingGolden, TwoHundredStepsGoAsPyTorchGoesThem) {
  const io::SafeTensors file(FOVEA_TEST_DATA "/training.safetensors");
  const auto losses = nlohmann::json::parse(file.metadata().at("losses")).get<std::vector<double>>(),
             norms = nlohmann::json::parse(file.metadata().at("norms")).get<std::vector<double>>();
  const std::vector<Pair> pairs = pairs_of(file);
  ASSERT_EQ(pairs.size(), losses.size() * kBatch);
  const MarianSizes sizes{20, 12, 16, 32, 2, 2, 1, 0.0};
  const Stored stored(file);
  const nn::Weights weights(stored, nn::Purpose::Training);
  const auto model = std::make_shared<models::Marian>(
      models::marian_config(nlohmann::json::parse(marian_config_json(sizes).dump()), "small"), weights);
  Learner learner(model, weights.trainable(), {.weight_decay = 0.02},
                  {.label_smoothing = 0.05f, .clip = 1, .shift = 0});
  const Schedule rate{.peak = 4e-3, .warmup = 20, .steps = std::ssize(losses), .hold = 0.3};
  for (std::int64_t step = 0; step < std::ssize(losses); ++step) {
    const auto first = pairs.begin() + step * kBatch;
    const std::vector<std::vector<Pair>> batch{{first, first + kBatch}};
    const StepReport got = learner.step(step, batch, rate(step));
    const auto at = static_cast<std::size_t>(step);
    ASSERT_NEAR(got.loss, losses[at], 1e-3) << "step " << step;
    ASSERT_NEAR(got.norm, norms[at], 1e-3 + 2e-3 * norms[at]) << "step " << step;
  }
  EXPECT_GT(losses.front(), 2.9) << "nothing is known at first";
  EXPECT_LT(losses.back(), losses.front() - 0.3) << "and something in the end";
}

}  // namespace
}  // namespace fovea::train
