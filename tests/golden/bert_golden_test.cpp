// Four small BERTs against transformers: data/bert_*/, made by bert_goldens.py. Attention within 4e-6, hidden states
// within 2e-5, and what the heads make of them; a batch without padding gives what transformers' padded one gives,
// bitwise as each sequence alone.
#include <bit>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "io/safetensors.hpp"
#include "models/encoder.hpp"
#include "support/close.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using testing::expect_close;

// Random weights make scores of up to ±23, where the last place of an f32 moves a weight by 1e-6.
constexpr double kAttention = 4e-6, kHidden = 2e-5;
constexpr double kLogit = 5e-5;  // one more matrix product, and numbers up to 10

std::string folder(const std::string& name) { return FOVEA_TEST_DATA "/" + name; }

/// A folder, loaded, with the batch that transformers ran on it.
struct Golden {
  std::string name;
  std::unique_ptr<models::Encoder> model;
  io::SafeTensors expected;
  std::vector<models::Sequence> batch;

  explicit Golden(const std::string& name_)
      : name(name_), model(models::load_encoder(folder(name_))), expected(folder(name_) + "/expected.safetensors") {
    const Tensor ids = expected.tensor("ids"), types = expected.tensor("types"), lengths = expected.tensor("lengths");
    std::ptrdiff_t at = 0;
    for (const std::int32_t n : lengths.values<std::int32_t>()) {
      const auto cut = [&](const Tensor& t) {
        const auto begin = t.values<std::int32_t>().begin() + at;
        return std::vector<int>(begin, begin + n);
      };
      batch.push_back({cut(ids), cut(types)});
      at += n;
    }
  }
};

const std::vector<std::string> kFolders = {"bert_base", "bert_masked_lm", "bert_classifier", "bert_first_names"};

void for_folders(const std::function<void(const Golden&)>& body) {
  for (const std::string& name : kFolders) {
    SCOPED_TRACE(name);
    body(Golden(name));
  }
}

models::Pass recording(bool attention, bool hidden) {
  models::Pass pass;
  pass.record_attention = attention, pass.record_hidden = hidden;
  return pass;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(a, b, [](float x, float y) { return std::bit_cast<int>(x) == std::bit_cast<int>(y); });
}

TEST(BertGolden, HiddenStates) {
  for_folders([](const Golden& g) {
    const models::Result r = g.model->forward(g.batch, recording(false, true));
    ASSERT_EQ(std::ssize(r.hidden_states), g.model->summary().layers + 1);
    for (std::size_t layer = 0; layer < r.hidden_states.size(); ++layer) {
      const std::string name = fmt::format("hidden.{}", layer);
      expect_close(name, r.hidden_states[layer], g.expected.tensor(name), kHidden);
    }
    expect_close("hidden", r.hidden, g.expected.tensor(fmt::format("hidden.{}", r.hidden_states.size() - 1)), kHidden);
  });
}

TEST(BertGolden, EveryAttentionWeight) {
  for_folders([](const Golden& g) {
    const models::Result r = g.model->forward(g.batch, recording(true, false));
    ASSERT_EQ(std::ssize(r.layers), g.model->summary().layers);
    for (const models::LayerRecord& layer : r.layers)
      for (std::size_t s = 0; s < g.batch.size(); ++s) {
        const Tensor want =
            g.expected.tensor(fmt::format("attention.{}.{}", layer.layer, s));  // [heads, tokens, tokens]
        const int tokens = static_cast<int>(g.batch[s].ids.size());
        Tensor got(DType::F32, {g.model->summary().heads, tokens, tokens});
        for (int h = 0; h < g.model->summary().heads; ++h)
          std::ranges::copy(layer.attention.weights(static_cast<int>(s), h, {0, tokens}),
                            got.values<float>().begin() + std::ptrdiff_t{h} * tokens * tokens);
        expect_close(fmt::format("layer {} sequence {}", layer.layer, s), got, want, kAttention);
      }
  });
}

TEST(BertGolden, Heads) {
  for_folders([](const Golden& g) {
    const models::Result r = g.model->forward(g.batch);
    const auto check = [&](const char* name, const auto& compute) {
      if (g.expected.contains(name))
        expect_close(name, compute(), g.expected.tensor(name), kLogit);
      else
        EXPECT_THROW(compute(), Error) << name;
    };
    check("vocabulary_logits", [&] { return g.model->vocabulary_logits(r.hidden); });
    check("class_logits", [&] { return g.model->class_logits(r); });
    check("pooled", [&] { return g.model->pooled(r); });
  });
}

TEST(BertGolden, ASequenceIsBitwiseTheSameAloneAndInCompany) {
  for_folders([](const Golden& g) {
    const models::Pass all = recording(true, true);
    const models::Result together = g.model->forward(g.batch, all);
    const auto width = static_cast<std::size_t>(g.model->summary().width);
    std::size_t row = 0;
    for (std::size_t s = 0; s < g.batch.size(); ++s) {
      const std::size_t tokens = g.batch[s].ids.size();
      const models::Result alone = g.model->forward(std::span(&g.batch[s], 1), all);
      for (std::size_t layer = 0; layer < alone.hidden_states.size(); ++layer)
        EXPECT_TRUE(same_bits(alone.hidden_states[layer].values<float>(),
                              together.hidden_states[layer].values<float>().subspan(row * width, tokens * width)))
            << "hidden " << layer << " of sequence " << s;
      for (std::size_t layer = 0; layer < alone.layers.size(); ++layer)
        for (int h = 0; h < g.model->summary().heads; ++h) {
          const Range rows{0, static_cast<int>(tokens)};
          EXPECT_TRUE(same_bits(alone.layers[layer].attention.weights(0, h, rows),
                                together.layers[layer].attention.weights(static_cast<int>(s), h, rows)))
              << "attention " << layer << " head " << h << " of sequence " << s;
        }
      row += tokens;
    }
  });
}

TEST(BertGolden, SummariesSayWhatIsStored) {
  const models::Summary base = Golden("bert_base").model->summary(), masked = Golden("bert_masked_lm").model->summary(),
                        odd = Golden("bert_classifier").model->summary();
  EXPECT_EQ(base.family, "bert");
  EXPECT_EQ(base.architecture, "BertModel");
  EXPECT_EQ(base.weights_dtype, "F32");
  EXPECT_EQ(masked.weights_dtype, "BF16");
  EXPECT_EQ((std::array{masked.width, masked.layers, masked.heads, masked.head_dim, masked.feed_forward}),
            (std::array{48, 3, 6, 8, 90}));
  EXPECT_EQ((std::array{odd.width, odd.layers, odd.heads, odd.head_dim, odd.feed_forward}),
            (std::array{35, 2, 5, 7, 53}));
  for_folders(
      [](const Golden& g) { EXPECT_TRUE(g.model->summary().warnings.empty()) << g.model->summary().warnings.front(); });
}

// ------------------------------------------------------------------------------------------------------- from a text,
// by load()

json said_of_text(const std::string& name) {
  return json::parse(io::SafeTensors(folder(name) + "/expected.safetensors").metadata().at("text"));
}

TEST(BertGolden, FillsMasks) {
  for (const std::string name : {"bert_masked_lm", "bert_first_names"}) {
    SCOPED_TRACE(name);
    const json want = said_of_text(name).at("fill");
    const std::vector<std::vector<Guess>> got = load(folder(name)).fill(want.at("text").get<std::string>(), 5);
    ASSERT_EQ(got.size(), want.at("top").size());
    for (std::size_t mask = 0; mask < got.size(); ++mask) {
      ASSERT_EQ(got[mask].size(), 5u);
      for (std::size_t i = 0; i < 5; ++i) {
        const json& guess = want.at("top").at(mask).at(i);
        EXPECT_EQ(got[mask][i].id, guess.at("id").get<int>());
        EXPECT_NEAR(got[mask][i].probability, guess.at("probability").get<double>(), kLogit);
      }
    }
  }
}

TEST(BertGolden, ClassifiesATextAndAPair) {
  const json want = said_of_text("bert_classifier").at("classify");
  const Model model = load(folder("bert_classifier"));
  const auto text = want.at("text").get<std::string>(), pair = want.at("pair").get<std::string>();
  const auto check = [](const std::vector<Label>& got, const json& labels) {
    ASSERT_EQ(got.size(), labels.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].name, labels.at(i).at("name").get<std::string>());
      EXPECT_NEAR(got[i].probability, labels.at(i).at("probability").get<double>(), kLogit);
    }
  };
  check(model.classify(text), want.at("alone"));
  check(model.classify(text, pair), want.at("both"));
}

}  // namespace
}  // namespace fovea
