// The parts of the studies: BLEU, what the three translators learn, and pictures of one that learns.
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "demo/lexicon.hpp"
#include "io/json.hpp"
#include "models/marian.hpp"
#include "support/errors.hpp"
#include "train/bleu.hpp"
#include "train/bottleneck.hpp"
#include "train/data.hpp"
#include "train/film.hpp"
#include "train/new_model.hpp"

namespace fovea::train {
namespace {

using testing::refuses;
using Text = std::vector<demo::Word>;

// ---------------------------------------------------------------------------------------------------------------- BLEU

double bleu_of(const std::vector<Text>& written, const std::vector<Text>& expected) { return bleu(written, expected); }

TEST(Bleu, IsWhatAHandComputes) {
  // 4/5 words, 3/4 pairs, 2/3 triples, 1/2 runs of four; and the fourth root.
  EXPECT_NEAR(bleu_of({{1, 2, 3, 4, 5}}, {{1, 2, 3, 4, 6}}), 100 * std::pow(0.2, 0.25), 1e-9);
  // All is right, and one word in five is missing.
  EXPECT_NEAR(bleu_of({{1, 2, 3, 4}}, {{1, 2, 3, 4, 5}}), 100 * std::exp(1 - 5.0 / 4), 1e-9);
  // A word that stands there once counts once: 5/8, 4/7, 3/6, 2/5.
  EXPECT_NEAR(bleu_of({{7, 7, 7, 7, 1, 2, 3, 4}}, {{7, 1, 2, 3, 4, 9, 9, 9}}),
              100 * std::pow(5.0 / 8 * 4 / 7 * 3 / 6 * 2 / 5, 0.25), 1e-9);
  // Runs are counted over all texts: 8/9, 6/7, 4/5, 2/3, and 9 words where 10 were expected.
  EXPECT_NEAR(bleu_of({{1, 2, 3, 4, 5}, {1, 2, 3, 4}}, {{1, 2, 3, 4, 6}, {1, 2, 3, 4, 5}}),
              100 * std::pow(8.0 / 9 * 6 / 7 * 4 / 5 * 2 / 3, 0.25) * std::exp(1 - 10.0 / 9), 1e-9);
}

TEST(Bleu, IsAHundredForWhatIsExpectedAndNothingWithoutARunOfFour) {
  EXPECT_DOUBLE_EQ(bleu_of({{1, 2, 3, 4}, {5, 6}}, {{1, 2, 3, 4}, {5, 6}}), 100);
  EXPECT_EQ(bleu_of({{1, 2, 3, 9, 5}}, {{1, 2, 3, 4, 5}}), 0);
  EXPECT_EQ(bleu_of({{}}, {{1, 2, 3, 4, 5}}), 0);
  EXPECT_TRUE(refuses([] { bleu_of({{1}}, {}); }, {"1 texts against 0"}));
}

// ------------------------------------------------------------------------------------------------------------- recipes

Recipe recipe_in(const char* text) { return recipe_of(io::parse_json(text, "mine.json"), "mine.json"); }

TEST(RecurrentRecipe, SaysWhatItSays) {
  const Recipe r = recipe_in(R"({"model": {"family": "recurrent", "attention": "none", "width": 48, "positions": 40,
                                           "dropout": 0.25}, "data": {"longest": 9}})");
  ASSERT_TRUE(r.recurrent.has_value());
  EXPECT_FALSE(r.recurrent->attention);
  EXPECT_EQ(r.recurrent->width, 48);
  EXPECT_EQ(r.recurrent->dropout, 0.25);
  EXPECT_EQ(r.positions(), 40);
  EXPECT_EQ(r.longest, 9);
  EXPECT_TRUE(recipe_in(R"({"model": {"family": "recurrent"}})").recurrent->attention);
  const Recipe marian = recipe_in(R"({"model": {"family": "marian", "positions": 50}})");
  EXPECT_FALSE(marian.recurrent.has_value());
  EXPECT_EQ(marian.positions(), 50);
}

TEST(RecurrentRecipe, NothingUnknownIsTaken) {
  EXPECT_TRUE(refuses([] { recipe_in(R"({"model": {"family": "lstm"}})"); }, {"mine.json", "\"lstm\"", "recurrent"}));
  EXPECT_TRUE(refuses([] { recipe_in(R"({"model": {"family": 3}})"); }, {"mine.json", "\"family\"", "a string"}));
  EXPECT_TRUE(refuses([] { recipe_in(R"({"model": {"family": "recurrent", "heads": 4}})"); },
                      {"\"heads\"", "model", "attention", "width"}));
  EXPECT_TRUE(refuses([] { recipe_in(R"({"model": {"attention": "additive"}})"); }, {"\"attention\"", "heads"}));
  EXPECT_TRUE(refuses([] { recipe_in(R"({"model": {"family": "recurrent", "attention": "dot"}})"); },
                      {"\"dot\"", "additive", "none"}));
  EXPECT_TRUE(refuses([] { recipe_in(R"({"model": {"family": "recurrent", "width": 7}})"); }, {"width is 7", "even"}));
}

TEST(RecurrentRecipe, LongPairsAreLeftOut) {
  Recipe r = recipe_in(R"({"data": {"pairs": 300}})");
  const std::size_t all = data_of(r).pairs.size();
  r.longest = 10;
  const Data shorter = data_of(r);
  EXPECT_LT(shorter.pairs.size(), all);
  EXPECT_GT(shorter.pairs.size(), 20u);
  for (const Pair& p : shorter.pairs) EXPECT_LE(p.source.size(), 10u);
}

TEST(Bottleneck, ItsContendersDifferInTheirModelAlone) {
  for (const bool quick : {false, true}) {
    const std::vector<Contender> all = contenders({.quick = quick, .steps = 7, .seed = 3});
    ASSERT_EQ(all.size(), 3u);
    nlohmann::json first;
    for (const Contender& c : all) {
      EXPECT_EQ(c.recipe.schedule.steps, 7);
      EXPECT_EQ(c.recipe.seed, 3u);
      nlohmann::json rest = nlohmann::json::parse(c.recipe_text);
      rest.erase("model");
      if (first.is_null()) first = rest;
      EXPECT_EQ(rest, first) << c.key;
    }
    EXPECT_EQ(all[0].key, "none");
    EXPECT_FALSE(all[0].recipe.recurrent->attention);
    EXPECT_TRUE(all[1].recipe.recurrent->attention);
    EXPECT_FALSE(all[2].recipe.recurrent.has_value());
  }
}

TEST(Bottleneck, ScoresEveryLengthAndSaysWhichWereLearntFrom) {
  Recipe recipe = recipe_in(R"({"model": {"family": "recurrent", "width": 8, "positions": 90}})");
  recipe.recurrent->vocabulary = demo::lexicon().words.size();
  const NewModel made = new_model(recipe);
  const auto scores = score_by_length(*made.model, {.sentences = 1}, [](const LengthScore&) {});
  ASSERT_EQ(scores.size(), 10u);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    EXPECT_EQ(scores[i].sentences, 1);
    EXPECT_EQ(scores[i].exact, 0) << "it has learnt nothing";
    EXPECT_EQ(scores[i].trained, i < 8) << scores[i].set;
    if (i > 0) { EXPECT_GT(scores[i].words, scores[i - 1].words); }
  }
}

// ---------------------------------------------------------------------------------------------------------------- film

TEST(Film, APictureIsWhatTheModelLooksAtAndWhatThatDoes) {
  Recipe recipe = recipe_in(R"({"model": {"width": 16, "feed_forward": 16, "heads": 2, "encoder_layers": 2}})");
  recipe.model.vocabulary = demo::lexicon().words.size();
  const NewModel made = new_model(recipe);
  const Film film(6);
  const Frame frame = film.picture(*made.model);
  EXPECT_GE(frame.pronouns, 0);
  EXPECT_LE(frame.pronouns, 1);
  EXPECT_NEAR(6 * frame.pronouns, std::round(6 * frame.pronouns), 1e-9);
  EXPECT_NE(frame.effect, 0);
  EXPECT_NE(frame.textbook_effect, 0);
  EXPECT_GE(frame.strongest, frame.weight);
  // Nothing is learnt, so that each of the 13 tokens gets about as much.
  EXPECT_NEAR(frame.weight, 1.0 / 13, 0.05);
  const Frame again = film.picture(*made.model);
  EXPECT_EQ(again.effect, frame.effect);
  EXPECT_EQ(again.weight, frame.weight);
}

TEST(Film, AnEncoderWithoutAttentionCannotBeFilmed) {
  Recipe recipe = recipe_in(R"({"model": {"family": "recurrent", "width": 8}})");
  recipe.recurrent->vocabulary = demo::lexicon().words.size();
  const NewModel made = new_model(recipe);
  EXPECT_TRUE(refuses([&] { Film(2).picture(*made.model); }, {"no attention", "Transformer"}));
}

}  // namespace
}  // namespace fovea::train
