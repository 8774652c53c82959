// What a model does with a text besides being looked into: embeddings, words for masks, labels; on small random BERTs.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "support/errors.hpp"
#include "support/text_bert.hpp"

namespace fovea {
namespace {

using plain::Checkpoint;
using plain::ids_of;
using plain::kMask;
using plain::kText;
using plain::kVocabulary;
using plain::Matrix;
using plain::word_pieces;
using plain::words;
using testing::refuses;

// --------------------------------------------------------------------------------------------------------------- embed

TEST(Embed, IsTheMeanOfTheLastHiddenStateWhereTheFolderIsSilent) {
  const Checkpoint c;
  const Model model = c.load();
  const std::vector<std::string> texts{kText};
  const Tensor vectors = model.embed(texts);
  const Matrix hidden = plain::run_bert(c.store, c.size, ids_of(model(kText))).hidden.back();
  for (std::size_t w = 0; w < hidden[0].size(); ++w) {
    double mean = 0;
    for (const plain::Row& row : hidden) mean += row[w] / static_cast<double>(hidden.size());
    EXPECT_NEAR(static_cast<double>(vectors.values<float>()[w]), mean, 2e-5);
  }
}

TEST(Embed, BatchesKeepTheOrderAndTheBits) {
  const Checkpoint c;
  const Model model = c.load();
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) texts.push_back(words(1 + (i * 7) % 17));  // more tokens than one batch takes
  const Tensor together = model.embed(texts);
  ASSERT_EQ(together.shape(), (Shape{500, c.size.width}));
  for (std::size_t i = 0; i < texts.size(); i += 13) {
    const Tensor alone = model.embed(std::span(&texts[i], 1));
    const auto row = together.values<float>().subspan(i * static_cast<std::size_t>(c.size.width),
                                                      static_cast<std::size_t>(c.size.width));
    EXPECT_TRUE(std::ranges::equal(row, alone.values<float>())) << "text " << i;
  }
  EXPECT_EQ(model.embed({}).shape(), (Shape{0, c.size.width}));
}

TEST(Embed, AFolderThatPoolsInAnUnknownWayCanStillBeLookedInto) {
  const Checkpoint c;
  c.folder.write("modules.json", std::string("{"));
  const Model model = c.load();
  EXPECT_EQ(model(kText).heads().size(), 6u);
  const std::vector<std::string> texts{kText};
  EXPECT_TRUE(refuses([&] { model.embed(texts); }, {"modules.json"}));
}

// --------------------------------------------------------------------------------------------------- fill and classify

std::vector<double> plain_softmax(const plain::Row& x) {
  std::vector<double> p;
  for (const double v : x) p.push_back(std::exp(v));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= sum;
  return p;
}

TEST(Fill, GivesTheLikeliestTokensAtEachMask) {
  Checkpoint c;
  plain::add_masked_head(c.store, c.size);
  c.write();
  const Model model = c.load();
  const std::string text = "the [MASK] by the [MASK] was old";
  const auto guesses = model.fill(text, kVocabulary);
  ASSERT_EQ(guesses.size(), 2u);
  const fovea::Run run = model(text);
  const Matrix logits =
      plain::masked_logits(c.store, c.size, plain::run_bert(c.store, c.size, ids_of(run)).hidden.back());
  for (std::size_t m = 0; m < 2; ++m) {
    const int position = m == 0 ? 2 : 5;
    ASSERT_EQ(run.tokens[static_cast<std::size_t>(position)].id, kMask);
    const std::vector<double> p = plain_softmax(logits[static_cast<std::size_t>(position)]);
    ASSERT_EQ(guesses[m].size(), p.size());
    for (const Guess& g : guesses[m]) EXPECT_NEAR(g.probability, p[static_cast<std::size_t>(g.id)], 1e-5);
    EXPECT_TRUE(std::ranges::is_sorted(guesses[m], std::greater<>{}, &Guess::probability));
    EXPECT_EQ(std::ranges::find(guesses[m], 72, &Guess::id)->text, "bank");
  }
  EXPECT_EQ(model.fill(text, 3)[1].size(), 3u);
  EXPECT_EQ(model.fill(text, 3)[1][2].id, guesses[1][2].id);
  EXPECT_TRUE(refuses([&] { model.fill("no hole here"); }, {"[MASK]"}));
  EXPECT_TRUE(refuses([&] { model.fill(text, 0); }, {"top 0"}));
}

TEST(Fill, TheFolderNamesTheMaskAndMayHaveNone) {
  Checkpoint c;
  plain::add_masked_head(c.store, c.size);
  c.write();
  c.folder.write("special_tokens_map.json", nlohmann::json{{"mask_token", {{"content", "bank"}, {"lstrip", false}}}});
  EXPECT_EQ(c.load().fill("the bank was old").size(), 1u);
  c.folder.write("special_tokens_map.json", nlohmann::json{{"mask_token", "<hole>"}});
  EXPECT_TRUE(refuses([&] { c.load().fill("the <hole> was old"); }, {"<hole>", "tokenizer.json"}));
  std::filesystem::remove(c.folder.path() / "special_tokens_map.json");
  std::string other = word_pieces();
  for (std::size_t at = other.find("[MASK]"); at != std::string::npos; at = other.find("[MASK]"))
    other.replace(at, 6, "[HOLE]");
  c.folder.write("tokenizer.json", other);
  EXPECT_TRUE(refuses([&] { c.load().fill("the [MASK] was old"); }, {"mask_token"}));
  c.folder.write("tokenizer_config.json", nlohmann::json{{"mask_token", "[HOLE]"}});
  EXPECT_EQ(c.load().fill("the [HOLE] was old").size(), 1u);
}

/// A checkpoint with a head of that many labels, by problem_type.
struct Classifier : Checkpoint {
  explicit Classifier(int labels, const nlohmann::json& extra = nlohmann::json::object()) {
    store.add_linear("bert.pooler.dense", size.width, size.width);
    store.add_linear("classifier", size.width, labels);
    write(extra);
  }
  plain::Row logits(const fovea::Run& run, const std::vector<int>& types = {}) const {
    const Matrix hidden = plain::run_bert(store, size, ids_of(run), types).hidden.back();
    return plain::linear(store, "classifier", plain::pooled(store, size, hidden))[0];
  }
};
double probability_of(const std::vector<Label>& labels, const std::string& name) {
  const auto found = std::ranges::find(labels, name, &Label::name);
  return found == labels.end() ? -1 : found->probability;
}

TEST(Classify, IsASoftmaxOverTheLabels) {
  const Classifier c(3, {{"id2label", {{"0", "near"}, {"1", "far"}, {"2", "elsewhere"}}}});
  const Model model = c.load();
  const std::vector<Label> labels = model.classify(kText);
  const std::vector<double> p = plain_softmax(c.logits(model(kText)));
  ASSERT_EQ(labels.size(), 3u);
  EXPECT_NEAR(probability_of(labels, "near"), p[0], 1e-5);
  EXPECT_NEAR(probability_of(labels, "far"), p[1], 1e-5);
  EXPECT_NEAR(probability_of(labels, "elsewhere"), p[2], 1e-5);
  EXPECT_TRUE(std::ranges::is_sorted(labels, std::greater<>{}, &Label::probability));
}

TEST(Classify, MarksTheSecondOfAPair) {
  const Classifier c(2);
  const Model model = c.load();
  const std::vector<Label> labels = model.classify("the bank", "the river");
  // [CLS] the bank [SEP] the river [SEP]: the ids of one text with a [SEP] in it, and the types of two.
  const fovea::Run one = model("the bank [SEP] the river");
  const std::vector<double> p = plain_softmax(c.logits(one, {0, 0, 0, 0, 1, 1, 1}));
  EXPECT_NEAR(probability_of(labels, "LABEL_0"), p[0], 1e-5);
  EXPECT_NEAR(probability_of(labels, "LABEL_1"), p[1], 1e-5);
  EXPECT_TRUE(refuses([&] { model.classify(words(10), words(10)); }, {"23 tokens", "19 positions"}));
}

TEST(Classify, FollowsTheProblemType) {
  const Classifier many(2, {{"problem_type", "multi_label_classification"}}), one(1),
      value(1, {{"problem_type", "regression"}}), odd(2, {{"problem_type", "guessing"}});
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const plain::Row logits = many.logits(many.load()(kText));
  EXPECT_NEAR(probability_of(many.load().classify(kText), "LABEL_0"), sigmoid(logits[0]), 1e-5);
  EXPECT_NEAR(probability_of(many.load().classify(kText), "LABEL_1"), sigmoid(logits[1]), 1e-5);
  EXPECT_NEAR(one.load().classify(kText)[0].probability, sigmoid(one.logits(one.load()(kText))[0]), 1e-5);
  EXPECT_NEAR(value.load().classify(kText)[0].probability, value.logits(value.load()(kText))[0], 2e-5);
  EXPECT_TRUE(refuses([&] { odd.load().classify(kText); }, {"config.json", "guessing", "multi_label_classification"}));
}

}  // namespace
}  // namespace fovea
