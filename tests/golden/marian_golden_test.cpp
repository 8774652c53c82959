// Two small Marians and a BART against transformers: data/marian_*/ and bart_small/, made by marian_goldens.py. Hidden
// states, every attention of both halves and between them, logits, and what searches find under a dozen configurations,
// with scores.
#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/search.hpp"
#include "support/close.hpp"
#include "support/encoder_decoder_golden.hpp"
#include "support/scratch.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using testing::expect_close;

// As for bert_golden_test; cross attention comes after two stacks of layers.
constexpr double kAttention = 1e-5, kHidden = 3e-5, kLogit = 1e-4, kScore = 2e-5;

using Golden = testing::EncoderDecoderGolden;
json metadata(const Golden& g, const char* key) { return json::parse(g.expected.metadata().at(key)); }

const std::vector<std::string> kFolders = {"marian_small", "marian_odd", "bart_small"};

void for_folders(const std::function<void(const Golden&)>& body) {
  for (const std::string& name : kFolders) {
    SCOPED_TRACE(name);
    body(Golden(name));
  }
}

models::DecoderPass recording() {
  models::DecoderPass pass;
  pass.record_attention = pass.record_hidden = true;
  return pass;
}

void expect_attention(const Golden& g, const models::LayerRecord& layer) {
  for (std::size_t s = 0; s < g.sources.size(); ++s) {
    const std::string name = fmt::format("{}.{}.{}", layer.kind, layer.layer, s);
    const Tensor want = g.expected.tensor(name);  // [heads, queries, keys]
    const int queries = static_cast<int>(want.shape()[1]);
    Tensor got(DType::F32, want.shape());
    auto to = got.values<float>().begin();
    for (int h = 0; h < want.shape()[0]; ++h) {
      const std::vector<float> rows = layer.attention.weights(static_cast<int>(s), h, {0, queries});
      ASSERT_EQ(std::ssize(rows), want.shape()[1] * want.shape()[2]) << name;
      to = std::ranges::copy(rows, to).out;
    }
    expect_close(name, got, want, kAttention);
  }
}

TEST(MarianGolden, HiddenStatesOfBothHalvesAndLogits) {
  for_folders([](const Golden& g) {
    const models::Result read = g.model->encode(g.sources, recording());
    const models::Result written = g.model->decode(read, g.targets, recording());
    for (const auto& [half, result] : {std::pair{"encoder", &read}, std::pair{"decoder", &written}})
      for (std::size_t layer = 0; layer < result->hidden_states.size(); ++layer) {
        const std::string name = fmt::format("{}.hidden.{}", half, layer);
        expect_close(name, result->hidden_states[layer], g.expected.tensor(name), kHidden);
      }
    EXPECT_EQ(std::ssize(written.hidden_states), g.model->summary().decoder_layers + 1);
    expect_close("logits", g.model->vocabulary_logits(written.hidden), g.expected.tensor("logits"), kLogit);
  });
}

TEST(MarianGolden, EveryAttentionWeightOfEncoderDecoderAndCross) {
  for_folders([](const Golden& g) {
    const models::Result read = g.model->encode(g.sources, recording());
    const models::Result written = g.model->decode(read, g.targets, recording());
    ASSERT_EQ(std::ssize(read.layers), g.model->summary().layers);
    ASSERT_EQ(std::ssize(written.layers), 2 * g.model->summary().decoder_layers);
    for (const models::LayerRecord& layer : read.layers) expect_attention(g, layer);
    for (const models::LayerRecord& layer : written.layers) expect_attention(g, layer);
  });
}

// ------------------------------------------------------------------------------------------------------------- written

/// A token at a time, rows leaving the batch as they end, gives the logits of the pass that sees the whole target.
TEST(MarianGolden, ATokenAtATimeIsThePassOverTheWhole) {
  for_folders([](const Golden& g) {
    const models::Result read = g.model->encode(g.sources);
    const Tensor whole = g.expected.tensor("logits");  // [target tokens, vocabulary]
    const std::int64_t vocabulary = whole.shape()[1];
    const std::unique_ptr<models::Decoding> decoding = g.model->begin(read);
    std::vector<std::size_t> rows(g.targets.size());
    std::vector<std::int64_t> first(g.targets.size());  // of a target in `whole`
    for (std::size_t i = 0, at = 0; i < rows.size(); at += g.targets[i++].ids.size())
      rows[i] = i, first[i] = static_cast<std::int64_t>(at);
    for (std::size_t step = 0; !rows.empty(); ++step) {
      std::vector<int> ids, going;
      for (const std::size_t i : rows) ids.push_back(g.targets[i].ids[step]);
      const Tensor logits = decoding->step(ids);
      std::vector<std::size_t> left;
      for (std::size_t r = 0; r < rows.size(); ++r) {
        const std::int64_t at = (first[rows[r]] + static_cast<std::int64_t>(step)) * vocabulary;
        for (std::int64_t c = 0; c < vocabulary; ++c)
          ASSERT_NEAR(logits.data<float>()[static_cast<std::int64_t>(r) * vocabulary + c], whole.data<float>()[at + c],
                      kLogit)
              << "target " << rows[r] << " step " << step;
        if (step + 1 < g.targets[rows[r]].ids.size()) going.push_back(static_cast<int>(r)), left.push_back(rows[r]);
      }
      decoding->select(going);
      rows = left;
    }
  });
}

/// The folder's own generation_config.json, or one that is written for the occasion.
runtime::Generation generation(const Golden& g, const json& config) {
  if (config.is_null())
    return runtime::generation_of(testing::golden_folder(g.name), g.model->target_tokens(), g.model->summary());
  const testing::Scratch scratch;
  scratch.write("generation_config.json", config.dump());
  return runtime::generation_of(scratch.path(), g.model->target_tokens(), g.model->summary());
}

void expect_texts(const std::vector<runtime::Written>& got, const json& want, bool scored) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].ids, want[i].at("ids").get<std::vector<int>>()) << "result " << i;
    if (scored) {
      EXPECT_NEAR(got[i].score, want[i].at("score").get<double>(), kScore * (1 + std::abs(got[i].score)))
          << "result " << i;
    }
  }
}

TEST(MarianGolden, GreedyAndBeamSearchFindWhatTransformersFinds) {
  for_folders([](const Golden& g) {
    for (const json& run : metadata(g, "generated")) {
      SCOPED_TRACE(run.at("config").dump());
      const runtime::Generation how = generation(g, run.at("config"));
      const auto together = runtime::write(*g.model, g.sources, how);
      ASSERT_EQ(together.size(), g.sources.size());
      for (std::size_t s = 0; s < together.size(); ++s) {
        SCOPED_TRACE(fmt::format("source {}", s));
        expect_texts(together[s], run.at("results")[s], how.beams > 1);
        if (s % 2 == 1) continue;
        const auto alone = runtime::write(*g.model, std::span(&g.sources[s], 1), how);
        expect_texts(alone.front(), run.at("results")[s], how.beams > 1);
      }
    }
  });
}

TEST(MarianGolden, AGreedyScoreIsThatOfTheSearchWithOneBeam) {
  const Golden g("marian_small");
  runtime::Generation how = generation(g, nullptr);
  const runtime::Written text = runtime::write(*g.model, std::span(&g.sources[0], 1), how).front().front();
  std::vector<int> read = text.ids;
  read.pop_back();
  const std::vector<models::Sequence> target{{read, {}}};
  const Tensor logits =
      g.model->vocabulary_logits(g.model->decode(g.model->encode(std::span(&g.sources[0], 1)), target).hidden);
  double sum = 0;
  for (std::int64_t i = 0; i < logits.shape()[0]; ++i) {
    const float* row = logits.data<float>() + i * logits.shape()[1];
    double total = 0;
    for (std::int64_t c = 0; c < logits.shape()[1]; ++c) total += std::exp(double{row[c]});
    sum += double{row[text.ids[static_cast<std::size_t>(i) + 1]]} - std::log(total);
  }
  EXPECT_NEAR(text.score, sum / static_cast<double>(logits.shape()[0]), 1e-5);
}

}  // namespace
}  // namespace fovea
