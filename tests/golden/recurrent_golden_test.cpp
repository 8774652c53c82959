// The recurrent encoder–decoders against PyTorch: data/recurrent_*/, made by recurrent_goldens.py. Annotations, every
// weight of the additive attention, logits, and what greedy choice writes.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/search.hpp"
#include "support/close.hpp"
#include "support/encoder_decoder_golden.hpp"

namespace fovea {
namespace {

using testing::expect_close;

// f32 against float64, through up to 14 steps of recurrence.
constexpr double kAnnotation = 3e-6, kWeight = 1e-5, kLogit = 3e-5;

class RecurrentGolden : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(, RecurrentGolden, ::testing::Values("recurrent_additive", "recurrent_none"),
                         [](const auto& info) { return info.param; });

TEST_P(RecurrentGolden, AnnotationsWeightsAndLogits) {
  const testing::EncoderDecoderGolden g(GetParam());
  models::DecoderPass pass;
  pass.record_attention = true;
  const models::Result read = g.model->encode(g.sources), written = g.model->decode(read, g.targets, pass);
  expect_close("annotations", read.hidden, g.expected.tensor("annotations"), kAnnotation);
  expect_close("logits", g.model->vocabulary_logits(written.hidden), g.expected.tensor("logits"), kLogit);
  const bool attention = g.expected.contains("cross.0");
  ASSERT_EQ(written.layers.size(), attention ? 1u : 0u);
  for (std::size_t i = 0; attention && i < g.targets.size(); ++i) {
    const Tensor want = g.expected.tensor(fmt::format("cross.{}", i));  // [queries, keys]
    const std::vector<float> weights =
        written.layers[0].attention.weights(static_cast<int>(i), 0, {0, static_cast<int>(want.shape()[0])});
    ASSERT_EQ(std::ssize(weights), want.elements());
    Tensor got(DType::F32, want.shape());
    std::ranges::copy(weights, got.data<float>());
    expect_close(fmt::format("cross.{}", i), got, want, kWeight);
  }
}

TEST_P(RecurrentGolden, GreedyChoiceWritesTheSame) {
  const testing::EncoderDecoderGolden g(GetParam());
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
