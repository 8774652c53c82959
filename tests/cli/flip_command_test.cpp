// What fovea look and fovea measure say of choices that are turned around, of translations that are given, and of what
// heads are for.
#include <algorithm>

#include <gtest/gtest.h>

#include "program.hpp"

namespace fovea::testing {
namespace {

const std::string kText = "The animal didn't cross the street because it was too tired.";

TEST(FlipCommand, FindsWhatDecidesThePronoun) {
  const Words words{"measure", kText, "--flip", "--target", "il", "--against", "elle"};
  Words with_json = words;
  with_json.push_back("--json");
  const auto json = json_of(fovea(with_json));
  EXPECT_EQ(json["flipped"], true);
  EXPECT_LE(json["cuts"].size(), 2u);
  EXPECT_LT(json["after"].get<double>(), 0);
  EXPECT_GE(json["search"].size(), json["cuts"].size());
  EXPECT_EQ(json["search"].back()["after"].get<double>() < 0, true);
  const Outcome o = fovea(words);
  EXPECT_EQ(o.status, 0);
  EXPECT_NE(o.out.find("log-odds without all so far"), std::string::npos);
  EXPECT_NE(o.out.find("qu'elle"), std::string::npos);
}

TEST(FlipCommand, SaysWhatItWants) {
  expect_error(fovea({"measure", kText, "--flip"}), 2, {"--flip", "--target", "--against"});
  expect_error(fovea({"measure", kText, "--flip", "--cut", "it:animal"}), 2, {"one of them"});
  expect_error(fovea({"measure", kText, "--flip", "--target", "il", "--against", "zebra"}), 1, {"zebra"});
}

TEST(WrittenFlag, LooksAtTheGivenTranslation) {
  const std::string given = "L'animal n'a pas traversé la rue parce qu'elle était trop large.";
  const auto json = json_of(fovea({"look", kText, "--written", given, "--kind", "cross", "--json"}));
  std::string text;
  for (const auto& token : json["target_tokens"]) text += token["text"].get<std::string>() + ' ';
  EXPECT_NE(text.find("elle était trop large"), std::string::npos) << text;
  EXPECT_EQ(json["alignment"].size(), json["target_tokens"].size());
  expect_error(fovea({"look", kText, "--written", "L'animal xyzzy."}), 1, {"the translation", "xyzzy"});
}

TEST(HeadFlags, ImportanceAndInductionStandBesideEveryHead) {
  const auto json = json_of(fovea({"look", kText, "--importance", "--induction", "--json"}));
  double most = 0;
  for (const auto& head : json["heads"]) {
    EXPECT_GE(head["importance"].get<double>(), 0);
    EXPECT_EQ(head.contains("induction"), head["kind"] != "cross");
    most = std::max(most, head["importance"].get<double>());
  }
  EXPECT_GT(most, 0);
  const Outcome o = fovea({"look", kText, "--importance"});
  EXPECT_EQ(o.status, 0);
  EXPECT_NE(o.out.find("importance"), std::string::npos);
  EXPECT_EQ(o.out.find("induction"), std::string::npos) << "it was not asked for";
}

}  // namespace
}  // namespace fovea::testing
