// fovea train on a recipe small enough for a test: its lines of JSON, an interruption and what comes after it, and what
// it refuses.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "demo/corpus.hpp"
#include "demo/tokenizer.hpp"
#include "program.hpp"
#include "support/scratch.hpp"

namespace fovea::testing {
namespace {

using nlohmann::json;

/// A folder with texts, their tokenizer, and recipe.json.
struct Recipe {
  Scratch folder;

  Recipe() {
    const demo::Corpus corpus = demo::make_corpus(1, 100);
    std::string english, french;
    for (const demo::SentencePair& p : corpus.pairs)
      english += demo::english_text(p) + "\n", french += demo::french_text(p) + "\n";
    folder.write("a.en", english), folder.write("a.fr", french), folder.write("tokenizer.json", demo::tokenizer_json());
    write("recipe.json", recipe());
  }
  static json recipe() {
    return {{"data", {{"source", "a.en"}, {"target", "a.fr"}, {"tokenizer", "tokenizer.json"}}},
            {"model",
             {{"width", 32},
              {"feed_forward", 64},
              {"heads", 2},
              {"encoder_layers", 1},
              {"decoder_layers", 1},
              {"positions", 64}}},
            {"training",
             {{"steps", 60},
              {"tokens_per_batch", 300},
              {"warmup", 2},
              {"shift", 8},
              {"report_every", 10},
              {"checkpoint_every", 1000}}}};
  }
  std::string write(const char* name, const json& recipe) const { return folder.write(name, recipe.dump()).string(); }
  std::string operator/(const char* name) const { return (folder / name).string(); }
};

std::vector<json> json_lines(const Outcome& o) {
  std::vector<json> all;
  for (const std::string& line : lines_of(o.out)) {
    all.push_back(json::parse(line, nullptr, false));
    EXPECT_TRUE(all.back().is_object()) << line;
  }
  return all;
}

TEST(TrainCommand, ReportsALineOfJsonAtATimeAndLeavesAModelFolder) {
  const Recipe r;
  const Outcome o = fovea({"train", r / "recipe.json", "-o", r / "out", "--steps", "25", "--dtype", "f16", "--json"});
  ASSERT_EQ(o.status, 0) << o.err;
  const std::vector<json> lines = json_lines(o);
  ASSERT_EQ(lines.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(lines[i].at("step"), (std::vector{10, 20, 25})[i]);
    EXPECT_EQ(lines[i].at("steps"), 25);
    for (const char* key : {"loss", "gradient_norm", "learning_rate", "tokens_per_second", "seconds"})
      EXPECT_TRUE(lines[i].at(key).is_number()) << key;
  }
  EXPECT_LT(lines[2].at("loss").get<double>(), lines[0].at("loss").get<double>());
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(r / "out"))
    files.push_back(entry.path().filename().string());
  std::ranges::sort(files);
  EXPECT_EQ(files, (std::vector<std::string>{"config.json", "generation_config.json", "model.safetensors",
                                             "tokenizer.json", "tokenizer_config.json"}));
  const auto info = json_of(fovea({"info", "--model", r / "out", "--json"}));
  EXPECT_EQ(info["family"], "marian");
  EXPECT_EQ(info["width"], 32);
  EXPECT_EQ(fovea({"translate", "the cat was tired .", "--model", r / "out"}).status, 0);
}

TEST(TrainCommand, AnInterruptionSavesAndTheSameCommandGoesOnToTheSameBytes) {
  const Recipe r;
  json recipe = Recipe::recipe();
  // Long enough that the interruption comes in time; a program under a sanitizer takes ten times as long for a step.
  const int steps = std::getenv("FOVEA_TESTED_PROGRAM") != nullptr ? 90 : 300;
  recipe["training"]["steps"] = steps, recipe["training"]["checkpoint_every"] = steps / 3;
  const std::string file = r.write("long.json", recipe);
  const auto command = [&](const char* out, const Words& more = {}) {
    Words words{program(), "train", file, "-o", r / out, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  Running running(command("parts"));
  // The first checkpoint shows that it is under way; two thirds are still to come. If it fails instead, wait() ends.
  for (int i = 0; i < 12'000 && !std::filesystem::exists(r / "parts/model.safetensors"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  running.interrupt();
  const Outcome stopped = running.wait();
  ASSERT_EQ(stopped.status, 130) << stopped.err;
  EXPECT_NE(stopped.err.find("saved after step"), std::string::npos) << stopped.err;
  const int at = json_lines(stopped).back().at("step").get<int>();
  EXPECT_GE(at, steps / 3);
  EXPECT_LT(at, steps);

  // A checkpoint of another recipe is neither taken nor replaced unasked.
  std::filesystem::copy(r / "parts", r / "other", std::filesystem::copy_options::recursive);
  expect_error(run_command(command("other", {"--steps", "5"})), 1,
               {fmt::format("training.steps was {} and is 5", steps)});
  EXPECT_TRUE(bytes_of(r / "other/training.safetensors") == bytes_of(r / "parts/training.safetensors"));
  const Outcome fresh = run_command(command("other", {"--steps", "5", "--fresh"}));
  EXPECT_EQ(fresh.status, 0) << fresh.err;
  EXPECT_FALSE(std::filesystem::exists(r / "other/training.safetensors"));

  const Outcome rest = run_command(command("parts")), whole = run_command(command("whole"));
  ASSERT_EQ(rest.status, 0) << rest.err;
  EXPECT_NE(rest.err.find(fmt::format("after step {}", at)), std::string::npos) << rest.err;
  ASSERT_EQ(whole.status, 0) << whole.err;
  EXPECT_EQ(json_lines(whole).size(), static_cast<std::size_t>(steps / 10));
  EXPECT_TRUE(bytes_of(r / "parts/model.safetensors") == bytes_of(r / "whole/model.safetensors"));
}

TEST(TrainCommand, WritesTheSentencesOfTheDemoLanguage) {
  const Recipe r;
  const Outcome o = fovea({"train", "demo", "--pairs", "30", "--write-sentences", r / "sets"});
  ASSERT_EQ(o.status, 0) << o.err;
  const Words train = lines_of(bytes_of(r / "sets/train.jsonl")),
              held_out = lines_of(bytes_of(r / "sets/coreference.jsonl"));
  EXPECT_EQ(train.size(), 30u);
  EXPECT_GE(held_out.size(), 400u);
  const json first = json::parse(held_out.front());
  EXPECT_FALSE(first.at("text").get<std::string>().empty());
  EXPECT_FALSE(first.at("held_out").empty());
  expect_error(fovea({"train", r / "recipe.json", "--write-sentences", r / "none"}), 2, {"--write-sentences"});
  EXPECT_EQ(fovea({"train", "--pairs", "30", "--write-sentences", r / "again"}).status, 0);
  EXPECT_EQ(bytes_of(r / "again/train.jsonl"), bytes_of(r / "sets/train.jsonl")) << "demo needs not be named";
}

TEST(TrainCommand, AModelThatIsDoneIsNotReplacedUnasked) {
  const Recipe r;
  json recipe = Recipe::recipe();
  recipe["data"]["held_out"] = 10, recipe["training"]["steps"] = 2;
  const std::string file = r.write("held.json", recipe);
  const Outcome first = fovea({"train", file, "-o", r / "out", "--json"});
  ASSERT_EQ(first.status, 0) << first.err;
  const json held_out = json_lines(first).back().at("held_out");
  EXPECT_GT(held_out.at("loss").get<double>(), 0);
  EXPECT_LE(held_out.at("tokens_right").get<double>(), 1);
  const std::string model = bytes_of(r / "out/model.safetensors");
  expect_error(fovea({"train", file, "-o", r / "out", "--seed", "7"}), 1,
               {"out: holds a model that is done", "--fresh"});
  EXPECT_TRUE(bytes_of(r / "out/model.safetensors") == model);
  EXPECT_EQ(fovea({"train", file, "-o", r / "out", "--seed", "7", "--fresh"}).status, 0);
  EXPECT_FALSE(bytes_of(r / "out/model.safetensors") == model);
}

TEST(TrainCommand, ARecurrentModelTranslatesAndSaysWhatItLookedAt) {
  const Recipe r;
  for (const std::string attention : {"additive", "none"}) {
    json recipe = Recipe::recipe();
    recipe["model"] = {{"family", "recurrent"}, {"attention", attention}, {"width", 32}, {"positions", 64}};
    const std::string file = r.write("recurrent.json", recipe), out = r.folder / attention;
    const Outcome o = fovea({"train", file, "-o", out, "--steps", "3", "--json"});
    ASSERT_EQ(o.status, 0) << o.err;
    const Outcome look = fovea({"translate", "the cat was tired .", "--model", out, "--look", "--json"});
    if (attention == "none") {
      expect_error(look, 1, {"no attention"});
      EXPECT_EQ(fovea({"translate", "the cat was tired .", "--model", out}).status, 0);
      continue;
    }
    const auto got = json_of(look);
    ASSERT_EQ(got["alignment"].size(), got["target_tokens"].size());
    ASSERT_GT(got["alignment"].size(), 0u);
    for (const auto& a : got["alignment"]) {
      EXPECT_LT(a["source"].get<std::size_t>(), got["tokens"].size());
      EXPECT_GT(a["weight"].get<double>(), 0);
      EXPECT_LE(a["weight"].get<double>(), 1);
    }
  }
}

TEST(TrainCommand, WrongLinesAreUsageErrors) {
  const Recipe r;
  expect_error(fovea({"train"}), 2, {"RECIPE"});
  expect_error(fovea({"train", r / "recipe.json"}), 2, {"--output"});
  expect_error(fovea({"train", r / "recipe.json", "-o", r / "out", "--steps", "many"}), 2, {"--steps"});
  expect_error(fovea({"train", r / "recipe.json", "-o", r / "out", "--dtype", "f8"}), 2, {"--dtype", "f8"});
  expect_error(fovea({"train", r / "recipe.json", "-o", r / "out", "--evaluate"}), 2, {"--evaluate"});
  EXPECT_FALSE(std::filesystem::exists(r / "out"));
}

TEST(TrainCommand, BadRecipesAreOneLine) {
  const Recipe r;
  const auto trained = [&](const json& recipe, const Words& more = {}) {
    Words words{"train", r.write("bad.json", recipe), "-o", r / "out"};
    words.insert(words.end(), more.begin(), more.end());
    return fovea(words);
  };
  json bad = Recipe::recipe();
  bad["training"]["lr"] = 1;
  expect_error(trained(bad), 1, {"bad.json", "\"lr\"", "learning_rate"});
  bad = Recipe::recipe();
  bad["training"]["evaluate_every"] = 10;
  expect_error(trained(bad), 1, {"bad.json", "evaluate_every is 10", "held_out"});
  bad = Recipe::recipe();
  bad["training"] = "quick";
  expect_error(trained(bad), 1, {"bad.json", "training", "expected an object"});
  expect_error(trained(bad, {"--steps", "3"}), 1, {"bad.json", "training", "expected an object"});
  expect_error(trained(json::array(), {"--pairs", "3"}), 1, {"bad.json", "expected an object"});
  expect_error(trained(Recipe::recipe(), {"--steps", "0"}), 1, {"\"steps\"", "from 1"});
  expect_error(fovea({"train", r / "none.json", "-o", r / "out"}), 1, {"none.json"});
  r.folder.write("a.fr", "le\n");
  expect_error(trained(Recipe::recipe()), 1, {"a.en has 100 lines", "a.fr has 1"});
}

}  // namespace
}  // namespace fovea::testing
