// The search for what turns a choice around, and runs over a given translation.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include <fovea/model.hpp>

#include "support/errors.hpp"
#include "support/text_bert.hpp"

namespace fovea::testing {
namespace {

constexpr const char* kText = "The animal didn't cross the street because it was too tired.";
constexpr const char* kOther = "L'animal n'a pas traversé la rue parce qu'elle était trop fatiguée.";

const Model& demo() {
  static const Model model = load("demo");
  return model;
}

TEST(Flip, TheTextbookTurnsByFewEdgesOfWhichASurveyPutsTheFirstFirst) {
  const fovea::Run run = demo()(kText);
  const Flip f = run.flip({.target = "il", .against = "elle"});
  ASSERT_TRUE(f.flipped);
  EXPECT_LE(f.cuts.size(), 2u);
  EXPECT_LT(f.effect.after, 0);
  EXPECT_GT(f.effect.before, 0);
  EXPECT_NEAR(f.effect.after, f.search.back().after, 1e-4);
  EXPECT_GT(f.effect.effect, 10 * std::abs(f.effect.control.mean));
  EXPECT_NE(f.effect.output_after.find("elle"), std::string::npos);
  const Survey s = run.survey({.target = "il", .against = "elle"});
  const auto most = std::ranges::max_element(s.items, {}, &Survey::Item::effect);
  EXPECT_EQ(most->query, f.search.front().query);
  EXPECT_EQ(most->key, f.search.front().key);
}

/// In one head alone no edge decides; whatever is found needs each of its cuts.
TEST(Flip, EachCutIsNeeded) {
  const fovea::Run run = demo()(kText);
  for (const std::vector<int>& layers : {std::vector<int>{3}, {2, 3}}) {
    const Flip f = run.flip({.layers = layers, .target = "il", .against = "elle"}, 3);
    EXPECT_LE(f.search.size(), 3u);
    for (std::size_t i = 1; i < f.search.size(); ++i) EXPECT_LT(f.search[i].after, f.search[i - 1].after);
    if (!f.flipped) continue;
    EXPECT_LT(f.effect.after, 0);
    for (std::size_t i = 0; f.cuts.size() > 1 && i < f.cuts.size(); ++i) {
      MeasureQuery fewer{.cuts = f.cuts, .layers = layers, .target = "il", .against = "elle"};
      fewer.cuts.erase(fewer.cuts.begin() + static_cast<std::ptrdiff_t>(i));
      EXPECT_GE(run.measure(fewer).after, 0);
    }
  }
}

TEST(Flip, RefusesWhatCannotBeTurned) {
  const fovea::Run run = demo()(kText);
  EXPECT_TRUE(refuses([&] { run.flip({.target = "il"}); }, {"flip", "target", "against"}));
  EXPECT_TRUE(refuses([&] { run.flip({.target = "il", .against = "elle"}, 0); }, {"at least one"}));
  const fovea::Run other = demo().forced(kText, kOther);
  EXPECT_TRUE(refuses([&] { other.flip({.target = "elle", .against = "il"}); }, {"nothing to turn around", "swap"}));
}

TEST(Forced, EachStepReadsTheGivenText) {
  const fovea::Run own = demo()(kText), other = demo().forced(kText, kOther);
  EXPECT_EQ(other.target_text(), kOther);
  ASSERT_EQ(other.target_tokens().size(), own.target_tokens().size());
  EXPECT_EQ(other.target_tokens().back().id, own.target_tokens().back().id) << "the end";
  const int step = own.find_query("il", "cross").front();
  EXPECT_EQ(other.find_query("elle", "cross").front(), step);
  // What stands before the pronoun is the same, and so are the step's odds, the other way round.
  const Effect is = own.measure({.from = "animal", .to = "tired", .target = "il", .against = "elle"});
  const Effect was = other.measure({.from = "animal", .to = "tired", .target = "elle", .against = "il"});
  EXPECT_NEAR(is.before, -was.before, 1e-4);
  EXPECT_NEAR(is.after, -was.after, 1e-4);
  EXPECT_EQ(was.output_before, kOther);
  EXPECT_LT(other.max_abs_error("cross"), 1e-5);
}

TEST(Forced, RefusesUnknownWordsAndModelsThatOnlyRead) {
  EXPECT_TRUE(refuses([] { demo().forced(kText, "L'animal xyzzy."); }, {"the translation", "xyzzy"}));
  plain::Checkpoint c({.layers = 1});
  const Model bert = c.load();
  EXPECT_TRUE(refuses([&] { bert.forced("the bank", "la banque"); }, {"only reads"}));
}

}  // namespace
}  // namespace fovea::testing
