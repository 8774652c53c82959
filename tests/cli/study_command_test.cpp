// fovea study on models that take a few steps: its JSON, its chart, and what it finds when it runs again.
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "program.hpp"
#include "support/scratch.hpp"

namespace fovea::testing {
namespace {

using nlohmann::json;

json parsed(const std::string& text) {
  const json j = json::parse(text, nullptr, false);
  EXPECT_TRUE(j.is_object()) << text;
  return j;
}

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++n;
  return n;
}

TEST(StudyCommand, TheBottleneckIsScoredByLengthAndNothingIsLearntTwice) {
  const Scratch folder;
  const std::vector<std::string> words{
      "study", "bottleneck", "--quick", "--steps", "2", "--sentences", "1", "--models", (folder / "models").string(),
      "--json"};
  std::vector<std::string> with_chart = words;
  with_chart.insert(with_chart.end(), {"-o", (folder / "chart.svg").string()});
  const Outcome first = fovea(with_chart);
  ASSERT_EQ(first.status, 0) << first.err;
  const json study = parsed(first.out);
  EXPECT_EQ(study.at("study"), "bottleneck");
  EXPECT_EQ(study.at("budget").at("steps"), 2);
  EXPECT_EQ(study.at("longest_trained"), 12);
  ASSERT_EQ(study.at("models").size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const json& model = study.at("models")[i];
    EXPECT_EQ(model.at("attention"), (std::vector{"none", "additive", "dot-product"})[i]);
    EXPECT_GT(model.at("parameters"), 10'000);
    EXPECT_GT(model.at("loss"), 5);
    ASSERT_GE(model.at("by_length").size(), 4u);
    EXPECT_EQ(model.at("by_length")[0].at("trained"), true);
    EXPECT_EQ(model.at("by_length").back().at("trained"), false);
    for (const json& length : model.at("by_length")) {
      EXPECT_EQ(length.at("sentences"), 1);
      EXPECT_TRUE(length.at("bleu").is_number());
    }
  }
  const std::string svg = bytes_of((folder / "chart.svg").string());
  EXPECT_EQ(svg.rfind("<svg xmlns=", 0), 0u);
  EXPECT_EQ(count_of(svg, "<path "), 6u) << "three models, exact translations and BLEU";
  for (const char* element : {"svg", "g"})
    EXPECT_EQ(count_of(svg, std::string("<") + element), count_of(svg, std::string("</") + element)) << "well-formed";
  for (const char* title : {"Exact translations by sentence length", "BLEU by sentence length"})
    EXPECT_EQ(count_of(svg, std::string("<title>") + title + "<"), 1u) << title;
  for (const char* name : {"GRU without attention", "GRU with additive attention", "Transformer"})
    EXPECT_GE(count_of(svg, std::string(">") + name + "<"), 1u) << name;

  const Outcome again = fovea(words);
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_NE(again.err.find("holds this model already"), again.err.npos);
  const json repeated = parsed(again.out);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(repeated.at("models")[i].at("by_length"), study.at("models")[i].at("by_length"));
}

TEST(StudyCommand, LearningIsFilmedAndDrawn) {
  const Scratch folder;
  const Outcome o = fovea({"study", "learning", "--steps", "2", "--every", "1", "--sentences", "2", "--models",
                           (folder / "film").string()});
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.out.find("pronouns right"), o.out.npos);
  EXPECT_NE(o.out.find("training steps"), o.out.npos);
  for (const std::string& line : lines_of(o.out)) {
    const auto columns = std::ranges::count_if(line, [](char c) { return (c & 0xc0) != 0x80; });  // one a code point
    EXPECT_LE(columns, 80) << line;
  }
  const json film = parsed(bytes_of((folder / "film" / "film.json").string()));
  ASSERT_EQ(film.at("frames").size(), 2u);
  EXPECT_EQ(film.at("frames")[1].at("step"), 2);
  const Outcome again = fovea({"study", "learning", "--steps", "2", "--models", (folder / "film").string(), "--json"});
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(parsed(again.out), film);
}

TEST(StudyCommand, WhatIsWrongIsSaid) {
  for (const auto& [words, part] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"study"}, "WHAT"},
           {{"study", "depth"}, "bottleneck"},
           {{"study", "bottleneck", "--steps", "0"}, "--steps is 0"},
           {{"study", "bottleneck", "--every", "5"}, "--every"},
           {{"study", "learning", "--seed", "-1"}, "--seed is -1"},
           {{"study", "learning", "-o", "/no/such/folder/x.svg"}, "cannot be created"}}) {  // before anything is learnt
    const Outcome o = fovea(words);
    EXPECT_EQ(o.status, words.back().ends_with(".svg") ? 1 : 2) << o.out;
    EXPECT_NE(o.err.find(part), o.err.npos) << o.err;
    EXPECT_EQ(o.out, "");
  }
}

}  // namespace
}  // namespace fovea::testing
