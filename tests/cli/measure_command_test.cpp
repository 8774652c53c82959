// fovea measure and fovea look --measure: the contract of their JSON, the screen, and what they refuse.
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program.hpp"
#include "support/text_bert.hpp"

namespace fovea::testing {
namespace {

constexpr const char* kText = "The bank by the river was flooded.";
const std::string kMasked = FOVEA_TEST_DATA "/bert_masked_lm", kClassifier = FOVEA_TEST_DATA "/bert_classifier";

/// A small random BERT in a folder, and commands that read it.
struct Small {
  plain::Checkpoint checkpoint;
  std::string folder = checkpoint.folder.path().string();
  Words measure(Words more, const std::string& text = kText) const {
    Words words{"measure", text, "--model", folder};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

Words keys_of(const nlohmann::ordered_json& object) {
  Words keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST(MeasureCommand, JsonIsWhatTheLibraryMeasures) {
  const Small s;
  const auto json = json_of(fovea(s.measure(
      {"--cut", "bank:river,2:7", "--layer", "1", "--head", "0,2", "--draws", "30", "--seed", "9", "--json"})));
  EXPECT_EQ(keys_of(json),
            (Words{"metric", "before", "after", "effect", "weight", "local_effect", "control", "output"}));
  EXPECT_EQ(keys_of(json["control"]), (Words{"mean", "sd", "percentile", "draws"}));
  EXPECT_EQ(keys_of(json["output"]), (Words{"before", "after"}));
  const Effect e = s.checkpoint.load()(kText).measure(
      {.cuts = {{"bank", "river"}, {"2", "7"}}, .layers = {1}, .heads = {0, 2}, .draws = 30, .seed = 9});
  EXPECT_EQ(json["metric"], "cosine_distance");
  EXPECT_EQ(json["before"], e.before);
  EXPECT_EQ(json["after"], e.after);
  EXPECT_EQ(json["effect"], e.effect);
  EXPECT_EQ(json["effect"].get<double>(), json["before"].get<double>() - json["after"].get<double>());
  EXPECT_EQ(json["weight"], e.weight);
  EXPECT_EQ(json["local_effect"], e.local_effect);
  EXPECT_EQ(json["control"]["mean"], e.control.mean);
  EXPECT_EQ(json["control"]["sd"], e.control.sd);
  EXPECT_EQ(json["control"]["percentile"], e.control.percentile());
  EXPECT_EQ(json["control"]["draws"], 30);
  EXPECT_TRUE(json["output"]["before"].is_null()) << "an encoder without a head answers nothing";
  EXPECT_GT(e.effect, 0);
}

TEST(MeasureCommand, TheSeedDecidesTheControlAndNothingElse) {
  const Small s;
  const auto with = [&](const char* seed) {
    return fovea(s.measure({"--cut", "bank:river", "--json", "--seed", seed})).out;
  };
  EXPECT_EQ(with("3"), with("3"));
  EXPECT_EQ(with("0"), fovea(s.measure({"--cut", "bank:river", "--json"})).out);
  EXPECT_NE(with("3"), with("4"));
}

TEST(MeasureCommand, ValuesWordsAndLabels) {
  const Small s;
  EXPECT_GT(json_of(fovea(s.measure({"--values", "river", "--json"})))["effect"], 0);
  const Words masked{"measure", "the old [MASK] by the river is dark.", "--model", kMasked, "--json", "--cut"};
  const auto with = [](Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return json_of(fovea(words));
  };
  const auto own = with(masked, {"[MASK]:river"});
  EXPECT_EQ(own["metric"], "log_probability");
  EXPECT_LT(own["before"], 0);
  EXPECT_TRUE(own["output"]["before"].is_string());
  const auto odds = with(masked, {"[MASK]:river", "--target", "bank", "--against", "money"});
  const auto back = with(masked, {"[MASK]:river", "--target", "money", "--against", "bank"});
  EXPECT_EQ(odds["metric"], "log_odds");
  EXPECT_NEAR(odds["effect"].get<double>(), -back["effect"].get<double>(), 1e-12);
  const auto label = with({"measure", "the old bank", "--model", kClassifier, "--json", "--cut"}, {"[CLS]:bank"});
  EXPECT_EQ(label["metric"], "log_probability");
  EXPECT_TRUE(label["output"]["after"] == "near" || label["output"]["after"] == "far" ||
              label["output"]["after"] == "elsewhere");
}

TEST(MeasureCommand, OneScreenSaysWhatItShows) {
  const Small s;
  for (const Words& what : {Words{"--cut", "bank:river"}, Words{"--cut", "bank:river,was:flooded", "--layer", "0"},
                            Words{"--values", "river", "--head", "1,2"}}) {
    const Outcome o = fovea(s.measure(what));
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.err, "");
    EXPECT_LE(widest_line(o.out), 80u) << o.out;
    EXPECT_LE(lines_of(o.out).size(), 24u);
    for (const char* word : {"Without ", "weight", "local effect", "measured effect", "control", "random removals",
                             "measurable", "percentile", "cost: 21 reruns", "next: fovea "})
      EXPECT_NE(o.out.find(word), std::string::npos) << word << " in\n" << o.out;
    EXPECT_EQ(o.out.find("…"), std::string::npos) << "cut off:\n" << o.out;
    const auto json = json_of(fovea(s.measure([&] {
      Words words = what;
      words.push_back("--json");
      return words;
    }())));
    const bool noise = json["control"]["percentile"] < 100;
    EXPECT_EQ(o.out.find("no measurable effect") != std::string::npos, noise);
  }
  if (!terminals()) GTEST_SKIP() << "skipped: no pseudo-terminal can be opened (is /dev/pts mounted?)";
  EXPECT_LE(widest_line(fovea_on_terminal(s.measure({"--cut", "bank:river"}), 80).out), 80u);
  const Outcome masked = fovea({"measure", "the old [MASK] by the river is dark.", "--model", kMasked, "--cut",
                                "[MASK]:river", "--target", "bank", "--against", "money"});
  EXPECT_LE(widest_line(masked.out), 80u) << masked.out;
  EXPECT_NE(masked.out.find("log-odds: "), std::string::npos);
  EXPECT_NE(masked.out.find("answer: "), std::string::npos);
}

TEST(MeasureCommand, WhatIsSuggestedNextRuns) {
  const Small s;
  const Outcome o = fovea(s.measure({"--cut", "bank:river"}));
  const std::size_t next = o.out.find("next: ");
  ASSERT_NE(next, std::string::npos);
  const Scratch folder;
  std::filesystem::create_symlink(program(), folder.path() / "fovea");
  const std::string path = folder.path().string() + ":" + std::getenv("PATH");
  const Outcome again =
      run_command({"sh", "-c", "set -e\n" + o.out.substr(next + 6)}, {"", {{"PATH", path}}, folder.path()});
  EXPECT_EQ(again.status, 0) << again.err;
}

TEST(MeasureCommand, WhatIsSuggestedNextCallsTheProgramAsItWasCalled) {
  const Small s;
  const Scratch folder;
  std::filesystem::create_symlink(program(), folder.path() / "fovea");
  Words words = s.measure({"--cut", "bank:river"});
  words.insert(words.begin(), "./fovea");
  const Outcome o = run_command(words, {"", {}, folder.path()});
  const std::size_t next = o.out.find("next: ./fovea measure ");
  ASSERT_NE(next, std::string::npos) << o.out << o.err;
  const Outcome again = run_command({"sh", "-c", "set -e\n" + o.out.substr(next + 6)}, {"", {}, folder.path()});
  EXPECT_EQ(again.status, 0) << again.err;
}

TEST(MeasureCommand, TheDefaultModelNeedsNoNameAndNoFlagIsPartedFromItsValue) {
  const Outcome o = fovea({"measure", "The animal didn't cross the street because it was too tired.", "--cut",
                           "it:animal", "--target", "il", "--against", "elle"});
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.out.find("--model"), std::string::npos) << o.out;
  const std::vector<std::string> lines = lines_of(o.out);
  int parted = 0;
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    if (!lines[i].ends_with(" \\")) continue;
    ++parted;
    const std::size_t word = lines[i].rfind(' ', lines[i].size() - 3) + 1;
    EXPECT_FALSE(lines[i].substr(word).starts_with("--")) << o.out;
  }
  EXPECT_GE(parted, 2) << o.out;
}

TEST(MeasureCommand, AllSetsWeightAgainstEffect) {
  const Small s;
  const auto pairs = json_of(fovea(s.measure({"--all", "pairs", "--json"})));
  EXPECT_EQ(keys_of(pairs), (Words{"metric", "unit", "rank_correlation", "items"}));
  EXPECT_EQ(keys_of(pairs["rank_correlation"]), (Words{"weight", "local_effect"}));
  ASSERT_EQ(pairs["items"].size(), 80u) << "8 words, 10 tokens";
  EXPECT_EQ(keys_of(pairs["items"][0]), (Words{"query", "key", "weight", "local_effect", "effect"}));
  const auto edges = json_of(fovea(s.measure({"--all", "edges", "--token", "bank", "--layer", "1", "--json"})));
  ASSERT_EQ(edges["items"].size(), 30u) << "10 tokens, 3 heads";
  EXPECT_EQ(keys_of(edges["items"][0]), (Words{"query", "key", "layer", "head", "weight", "local_effect", "effect"}));
  const auto heads = json_of(fovea(s.measure({"--all", "heads", "--json"})));
  ASSERT_EQ(heads["items"].size(), 6u);
  EXPECT_EQ(keys_of(heads["items"][0]), (Words{"layer", "head", "local_effect", "effect"}));
  const Outcome silenced = fovea(s.measure({"--all", "heads"}));
  EXPECT_LE(widest_line(silenced.out), 80u) << silenced.out;
  EXPECT_NE(silenced.out.find("6 heads, each silenced alone"), std::string::npos) << silenced.out;
  for (const Words& what :
       {Words{"--all", "pairs"}, Words{"--all", "edges"}, Words{"--all", "pairs", "--token", "bank"}}) {
    const Outcome o = fovea(s.measure(what));
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_LE(widest_line(o.out), 80u) << o.out;
    EXPECT_LE(lines_of(o.out).size(), 30u) << o.out;
    for (const char* word : {"Weight against effect", "rank correlation", "most effect", "much weight, little effect",
                             "little weight, much effect", "No control", "next: fovea measure"})
      EXPECT_NE(o.out.find(word), std::string::npos) << word << " in\n" << o.out;
  }
  expect_error(fovea(s.measure({"--all", "everything"})), 2, {"--all"});
  expect_error(fovea(s.measure({"--all", "pairs", "--cut", "bank:river"})), 2, {"one of them"});
  expect_error(fovea(s.measure({"--all", "pairs", "--draws", "30"})), 2, {"--draws", "no control"});
  expect_error(fovea(s.measure({"--cut", "bank:river", "--token", "bank"})), 2, {"--token", "--all"});
  expect_error(fovea(s.measure({"--all", "pairs", "--token", "money"})), 1, {"\"money\""});
}

TEST(MeasureCommand, RefusesInOneLine) {
  const Small s;
  expect_error(fovea(s.measure({})), 2, {"--cut", "--values"});
  expect_error(fovea(s.measure({"--cut", "bank:river", "--values", "river"})), 2, {"one of them"});
  for (const char* cut : {"bank", "bank:", ":river", "a:b:c", "bank:river,", ","})
    expect_error(fovea(s.measure({"--cut", cut})), 2, {"--cut", "FROM:TO"});
  expect_error(fovea(s.measure({"--cut", "bank:river", "--draws", "19"})), 2, {"--draws", "20"});
  expect_error(fovea(s.measure({"--cut", "bank:river", "--seed", "-1"})), 2, {"--seed"});
  expect_error(fovea(s.measure({"--cut", "bank:river", "--against", "x"})), 2, {"--against", "--target"});
  expect_error(fovea(s.measure({"--cut", "bank:money"})), 1, {"\"money\"", "flooded"});
  expect_error(fovea(s.measure({"--cut", "it:by"}, "it was by it")), 1, {"it#1", "it#2"});
  expect_error(fovea(s.measure({"--cut", "bank:river", "--layer", "5"})), 1, {"--layer 5", "0 to 1"});
  expect_error(fovea(s.measure({"--cut", "bank:river", "--kind", "cross"})), 1, {"cross", "encoder"});
  expect_error(fovea(s.measure({"--cut", "bank:river", "--target", "x"})), 1, {"\"x\""});
  expect_error(fovea(s.measure({"--cut", "1:0,1:1,1:2"}, "bank")), 1, {"token 1 (\"bank\")", "all 3 keys"});
}

TEST(MeasureCommand, LookAddsWhatWasMeasured) {
  const Small s;
  const Words look{"look", kText, "--model", s.folder, "--token", "bank", "--top", "5"};
  const auto with = [&](const Words& more) {
    Words words = look;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const auto plain = json_of(fovea(with({"--json"}))), measured = json_of(fovea(with({"--measure", "--json"})));
  ASSERT_EQ(measured["links"].size(), 5u);
  const fovea::Run run = s.checkpoint.load()(kText);
  for (std::size_t i = 0; i < 5; ++i) {
    auto link = measured["links"][i];
    ASSERT_TRUE(link.contains("measured"));
    const auto m = link["measured"];
    EXPECT_EQ(keys_of(m), (Words{"metric", "effect", "control_mean", "control_sd", "percentile", "draws"}));
    const Effect e = run.measure({.from = std::to_string(link["query"].get<int>()),
                                  .to = std::to_string(link["key"].get<int>()),
                                  .layers = {link["layer"].get<int>()},
                                  .heads = {link["head"].get<int>()}});
    EXPECT_EQ(m["effect"], e.effect);
    EXPECT_EQ(m["percentile"], e.control.percentile());
    EXPECT_EQ(m["control_mean"], e.control.mean);
    link.erase("measured");
    EXPECT_EQ(link, plain["links"][i]) << "and changes nothing else";
  }
  const Outcome screen = fovea(with({"--measure"}));
  EXPECT_LE(widest_line(screen.out), 80u) << screen.out;
  EXPECT_NE(screen.out.find("measured"), std::string::npos);
  EXPECT_NE(screen.out.find("no measurable effect"), std::string::npos) << "says what noise means";
  EXPECT_EQ(fovea(look).out.find("measured"), std::string::npos);
  const Outcome all = fovea({"look", kText, "--model", s.folder, "--measure"});
  EXPECT_LE(widest_line(all.out), 80u) << all.out;
}

TEST(MeasureCommand, ARealSentenceEncoder) {
  const std::string folder = FOVEA_BUILD "/models/minilm";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "scripts/fetch-minilm fetches it";
  const auto measured = [&](const char* cut) {
    return json_of(fovea({"measure", "The bank by the river was flooded", "--model", folder, "--cut", cut, "--json"}));
  };
  const auto strong = measured("by:flooded"), weak = measured("by:was");
  EXPECT_EQ(strong["control"]["draws"], 20);
  EXPECT_EQ(strong["control"]["percentile"], 100);
  EXPECT_GT(strong["effect"], weak["effect"]);

  // What README.md tells: a large weight without a measurable effect.
  const auto told = measured("bank:river");
  EXPECT_NEAR(told["effect"].get<double>(), 0.022, 5e-4);
  EXPECT_NEAR(told["control"]["mean"].get<double>(), 0.017, 5e-4);
  EXPECT_NEAR(told["control"]["sd"].get<double>(), 0.014, 5e-4);
  EXPECT_LT(told["control"]["percentile"], 95);

  // What docs/look.md tells: "it" looks five times as much at [CLS] as at "animal", and lives by "animal".
  const auto all = json_of(fovea({"measure", "The animal didn't cross the street because it was too tired", "--model",
                                  folder, "--all", "pairs", "--token", "it", "--json"}));
  const auto& first = all["items"][0];
  const auto& second = all["items"][1];
  EXPECT_EQ(first["key"], 2);   // animal
  EXPECT_EQ(second["key"], 0);  // [CLS]
  EXPECT_GT(second["weight"].get<double>(), 5 * first["weight"].get<double>());
  EXPECT_GT(first["effect"].get<double>(), 2 * second["effect"].get<double>());
}

}  // namespace
}  // namespace fovea::testing
