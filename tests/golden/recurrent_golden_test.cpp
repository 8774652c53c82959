// The recurrent encoder–decoders against PyTorch: data/recurrent_*/, made by recurrent_goldens.py. Annotations, every
// weight of the additive attention, logits, and what greedy choice writes.
#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.hpp"
#include "models/encoder_decoder.hpp"
#include "runtime/search.hpp"

namespace fovea {
namespace {

// f32 against float64, through up to 14 steps of recurrence.
constexpr double kAnnotation = 3e-6, kWeight = 1e-5, kLogit = 3e-5;

struct Golden {
  std::unique_ptr<models::EncoderDecoder> model;
  io::SafeTensors expected;
  std::vector<models::Sequence> sources, targets;

  explicit Golden(const std::string& name)
      : model(models::load_encoder_decoder(FOVEA_TEST_DATA "/" + name)),
        expected(FOVEA_TEST_DATA "/" + name + "/expected.safetensors"),
        sources(sequences("sources", "source_lengths")),
        targets(sequences("targets", "target_lengths")) {}
  std::vector<models::Sequence> sequences(const char* ids_name, const char* lengths_name) const {
    const Tensor ids = expected.tensor(ids_name), lengths = expected.tensor(lengths_name);
    std::vector<models::Sequence> all;
    auto at = ids.values<std::int32_t>().begin();
    for (const std::int32_t n : lengths.values<std::int32_t>()) {
      all.push_back({std::vector<int>(at, at + n), {}});
      at += n;
    }
    return all;
  }
};

/// Every element within `allowed`, and not all of them 0.
void expect_close(const std::string& what, std::span<const float> got, std::span<const float> want, double allowed) {
  ASSERT_EQ(got.size(), want.size()) << what;
  double most = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], allowed) << what << "[" << i << "]";
    most = std::max(most, std::abs(double{want[i]}));
  }
  EXPECT_GT(most, 1e-3) << what;
}

class RecurrentGolden : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(, RecurrentGolden, ::testing::Values("recurrent_additive", "recurrent_none"),
                         [](const auto& info) { return info.param; });

TEST_P(RecurrentGolden, AnnotationsWeightsAndLogits) {
  const Golden g(GetParam());
  models::DecoderPass pass;
  pass.record_attention = true;
  const models::Result read = g.model->encode(g.sources), written = g.model->decode(read, g.targets, pass);
  expect_close("annotations", read.hidden.values<float>(), g.expected.tensor("annotations").values<float>(),
               kAnnotation);
  const Tensor logits = g.model->vocabulary_logits(written.hidden);
  expect_close("logits", logits.values<float>(), g.expected.tensor("logits").values<float>(), kLogit);
  const bool attention = g.expected.contains("cross.0");
  ASSERT_EQ(written.layers.size(), attention ? 1u : 0u);
  for (std::size_t i = 0; attention && i < g.targets.size(); ++i) {
    const Tensor want = g.expected.tensor(fmt::format("cross.{}", i));  // [queries, keys]
    const std::vector<float> got =
        written.layers[0].attention.weights(static_cast<int>(i), 0, {0, static_cast<int>(want.shape()[0])});
    expect_close(fmt::format("cross.{}", i), got, want.values<float>(), kWeight);
  }
}

TEST_P(RecurrentGolden, GreedyChoiceWritesTheSame) {
  const Golden g(GetParam());
  runtime::Generation how;
  how.max_length = 16, how.ends = {1}, how.never = {{0}};
  const auto want = nlohmann::json::parse(g.expected.metadata().at("written")).get<std::vector<std::vector<int>>>();
  const auto together = runtime::write(*g.model, g.sources, how);
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(together[i].front().ids, want[i]) << i;
    EXPECT_EQ(runtime::write(*g.model, std::span(&g.sources[i], 1), how).front().front().ids, want[i]) << i;
  }
}

}  // namespace
}  // namespace fovea
