// Training as a whole, on models small enough for a test: that it learns, that it goes on bitwise as if it had never
// stopped, what it writes, and what it refuses.
#include "train/training.hpp"

#include <csignal>
#include <sstream>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/threads.hpp>

#include "demo/corpus.hpp"
#include "demo/tokenizer.hpp"
#include "io/safetensors.hpp"
#include "io/tokenizer.hpp"
#include "models/marian.hpp"
#include "support/errors.hpp"
#include "support/scratch.hpp"
#include "train/checkpoint.hpp"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using testing::bytes_of;
using testing::has;
using testing::message_of;
using testing::refuses;
using testing::Scratch;

/// Two files of demo sentences, the demo's tokenizer, and a recipe that reads them.
struct Texts {
  Scratch scratch;
  Recipe recipe;

  Texts() {
    static const demo::Corpus corpus = demo::make_corpus(1, 200);
    std::string english, french;
    for (const demo::SentencePair& p : corpus.pairs)
      english += demo::english_text(p) + "\n", french += demo::french_text(p) + "\n";
    recipe.files = TextFiles{scratch.write("a.en", english), scratch.write("a.fr", french),
                             scratch.write("tokenizer.json", demo::tokenizer_json())};
    recipe.model = {.vocabulary = 0,
                    .positions = 64,
                    .width = 32,
                    .feed_forward = 64,
                    .heads = 2,
                    .encoder_layers = 1,
                    .decoder_layers = 1};
    recipe.schedule = {.peak = 3e-3, .warmup = 2, .steps = 6};
    recipe.step = {.shift = 8, .accumulate = 2};
    recipe.tokens_per_batch = 250;
    recipe.optimiser.weight_decay = 0.01;
  }
  fs::path folder(const char* name) const { return scratch / name; }
  Training training(const char* name, const std::string& text = "recipe") const { return {recipe, text, folder(name)}; }
};

/// Stops after step n.
Hooks until(const Training& t, std::int64_t n) {
  Hooks hooks;
  hooks.stop = [&t, n] { return t.step() == n; };
  return hooks;
}

std::string state_after(const Texts& texts, const char* name, int threads, std::initializer_list<int> stops) {
  set_threads(threads);
  for (const int stop : stops) {
    Training t = texts.training(name);
    if (has_state(texts.folder(name))) t.resume();
    t.run(until(t, stop));
    EXPECT_EQ(t.step(), stop);
  }
  return bytes_of(texts.folder(name) / "training.safetensors");
}

TEST(Training, GoesOnBitwiseAsIfItHadNeverStoppedOnAnyNumberOfThreads) {
  const Texts texts;
  const int before = threads();
  const std::string whole = state_after(texts, "whole", 1, {5}), parts = state_after(texts, "parts", 2, {1, 3, 5});
  set_threads(before);
  ASSERT_FALSE(whole.empty());
  EXPECT_TRUE(whole == parts);  // parameters, moments, step: every byte
  EXPECT_TRUE(bytes_of(texts.folder("whole") / "model.safetensors") ==
              bytes_of(texts.folder("parts") / "model.safetensors"));
}

TEST(Training, ReportsWhatItDoes) {
  Texts texts;
  texts.recipe.report_every = 4;
  texts.recipe.schedule.steps = 10;
  Training t = texts.training("out");
  std::vector<Progress> seen;
  Hooks hooks;
  hooks.report = [&](const Progress& p) { seen.push_back(p); };
  t.run(hooks);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].step, 4);
  EXPECT_EQ(seen[1].step, 8);
  EXPECT_EQ(seen[2].step, 10);
  for (const Progress& p : seen) {
    EXPECT_EQ(p.steps, 10);
    EXPECT_EQ(p.learning_rate, texts.recipe.schedule(p.step - 1));
    EXPECT_GT(p.loss, 0);
    EXPECT_GT(p.norm, 0);
    EXPECT_GT(p.tokens_per_second, 0);
  }
  EXPECT_LT(seen[2].loss, seen[0].loss);
  EXPECT_EQ(seen[2].seconds_left, 0);
}

Tensor logits_of(const models::EncoderDecoder& model, const Pair& pair) {
  std::vector<int> written{model.target_tokens().start};
  written.insert(written.end(), pair.target.begin(), pair.target.end() - 1);
  const std::vector<models::Sequence> source{{pair.source, {}}}, target{{written, {}}};
  return model.vocabulary_logits(model.decode(model.encode(source), target).hidden);
}

TEST(Training, AsksWhatIsHeldOutAndLearnsTheSame) {
  Texts texts;
  texts.recipe.held_out = 20;
  const int before = threads();
  const std::string plain = state_after(texts, "plain", 1, {6});
  set_threads(before);
  texts.recipe.evaluate_every = 2, texts.recipe.report_every = 3;
  Training t = texts.training("asked");
  std::vector<Progress> seen;
  Hooks hooks;
  hooks.report = [&](const Progress& p) { seen.push_back(p); };
  t.run(hooks);
  EXPECT_TRUE(bytes_of(texts.folder("asked") / "training.safetensors") == plain);
  ASSERT_EQ(seen.size(), 4u);  // after steps 2, 3, 4, 6
  EXPECT_FALSE(seen[1].held_out);
  for (const std::size_t i : {0u, 2u, 3u}) ASSERT_TRUE(seen[i].held_out) << i;

  // The last one against each pair by itself.
  double loss = 0;
  std::int64_t tokens = 0, right = 0;
  for (const Pair& p : t.data().held_out) {
    const Tensor logits = logits_of(t.model(), p);
    for (std::int64_t i = 0, classes = logits.shape()[1]; i < std::ssize(p.target); ++i, ++tokens) {
      const std::span row(logits.data<float>() + i * classes, static_cast<std::size_t>(classes));
      const auto target = static_cast<std::size_t>(p.target[static_cast<std::size_t>(i)]);
      double sum = 0;
      for (const float x : row) sum += std::exp(double{x});
      loss += std::log(sum) - double{row[target]};
      right += std::ranges::all_of(row, [&](float x) { return x <= row[target]; });
    }
  }
  EXPECT_EQ(seen[3].held_out->tokens, tokens);
  EXPECT_NEAR(seen[3].held_out->loss, loss / static_cast<double>(tokens), 1e-5);
  EXPECT_EQ(seen[3].held_out->right, static_cast<double>(right) / static_cast<double>(tokens));
}

TEST(Training, WritesTheModelThatItTrained) {
  const Texts texts;
  Training t = texts.training("out");
  t.run({});
  const io::SafeTensors state(texts.folder("out") / "training.safetensors"),
      weights(texts.folder("out") / "model.safetensors");
  int parameters = 0;
  for (const std::string& name : state.names()) {
    if (!name.starts_with("parameter.")) continue;
    ++parameters;
    EXPECT_TRUE(std::ranges::equal(state.tensor(name).values<float>(), weights.tensor(name.substr(10)).values<float>()))
        << name;
  }
  EXPECT_EQ(parameters + 1, std::ssize(weights.names()));  // and final_logits_bias
  t.finish(DType::F32);
  EXPECT_FALSE(has_state(texts.folder("out")));
  const auto loaded = models::load_encoder_decoder(texts.folder("out"));
  for (const Pair& pair : std::span(t.data().pairs).first(5)) {
    const Tensor mine = logits_of(t.model(), pair), theirs = logits_of(*loaded, pair);
    ASSERT_EQ(mine.shape().str(), theirs.shape().str());
    for (std::size_t i = 0; i < mine.values<float>().size(); ++i)
      ASSERT_NEAR(mine.values<float>()[i], theirs.values<float>()[i], 1e-5);
  }
  t.finish(DType::F16);
  EXPECT_EQ(io::SafeTensors(texts.folder("out") / "model.safetensors").tensor("model.shared.weight").dtype(),
            DType::F16);
  EXPECT_NO_THROW(models::load_encoder_decoder(texts.folder("out")));
}

// ---------------------------------------------------------------------------------------------------------- what fails

TEST(TrainingData, EveryComplaintNamesFileAndLine) {
  const Texts texts;
  const auto refused = [&](const char* english, const char* french, const std::vector<std::string_view>& parts) {
    Recipe r = texts.recipe;
    r.files->source = texts.scratch.write("b.en", english), r.files->target = texts.scratch.write("b.fr", french);
    r.model.positions = 6;
    return refuses([&] { data_of(r); }, parts);
  };
  EXPECT_TRUE(refused("the\nthe\nthe\n", "le\nle\n", {"b.en has 3 lines", "b.fr has 2"}));
  EXPECT_TRUE(refused("the\n\nthe\n", "le\nle\nle\n", {"b.en: line 2 is empty"}));
  EXPECT_TRUE(refused("the\nthe\n", "le\r\n\r\n", {"b.fr: line 2 is empty"}));
  EXPECT_TRUE(refused("the\nthe\n", "le\nle le le le le le\n", {"b.fr: line 2 has 7 tokens", "6 positions"}));
  EXPECT_TRUE(refused("the\ncaf\xe9\n", "le\nle\n", {"b.en: line 2 is not UTF-8", "byte 3 is 0xe9"}));
  EXPECT_TRUE(refused("", "", {"b.en: is empty"}));
  Recipe r = texts.recipe;
  r.longest = 1;
  EXPECT_TRUE(refuses([&] { data_of(r); }, {"more than 1 tokens", "longest"}));
  r = texts.recipe;
  r.files->source = texts.scratch / "none.en";
  EXPECT_TRUE(refuses([&] { data_of(r); }, {"none.en", "cannot be opened"}));
  r = texts.recipe;
  auto endless = nlohmann::json::parse(demo::tokenizer_json());
  endless["post_processor"] = nullptr;
  r.files->tokenizer = texts.scratch.write("endless.json", endless.dump());
  EXPECT_TRUE(refuses([&] { data_of(r); }, {"endless.json: does not end a text with token 1"}));
  r = texts.recipe;
  r.files.reset(), r.pairs = 50, r.model.positions = 10;
  EXPECT_TRUE(refuses([&] { data_of(r); }, {"demo language", "10 positions"}));
}

TEST(TrainingData, WithoutATokenizerOneIsLearntFromTheFiles) {
  const Texts texts;
  Recipe r = texts.recipe;
  r.files->tokenizer.clear(), r.files->vocabulary = 300, r.model.positions = 200;
  const Data data = data_of(r);
  EXPECT_EQ(data.vocabulary, 300);
  ASSERT_EQ(data.pairs.size(), 200u);
  const auto tokenizer = io::Tokenizer::from_json(data.tokenizer_json, "learnt");
  std::istringstream english(testing::bytes_of(r.files->source));
  std::string line;
  for (const Pair& p : data.pairs) {
    std::getline(english, line);
    EXPECT_EQ(tokenizer.decode(p.source), line);
    EXPECT_EQ(p.target.back(), 1);
  }
  EXPECT_EQ(data_of(r).tokenizer_json, data.tokenizer_json);  // a training that goes on must find the ids it left
  r.files->vocabulary = 20;
  EXPECT_TRUE(refuses([&] { data_of(r); }, {"vocabulary of 20", "different characters"}));
}

TEST(TrainingData, WhatIsHeldOutIsNotLearntFrom) {
  const Texts texts;
  Recipe r = texts.recipe;
  const Data all = data_of(r);
  r.held_out = 30;
  const Data files = data_of(r);
  ASSERT_EQ(files.pairs.size(), 170u);
  ASSERT_EQ(files.held_out.size(), 30u);
  EXPECT_EQ(files.pairs.back().source, all.pairs[169].source);
  EXPECT_EQ(files.held_out.front().source, all.pairs[170].source);
  EXPECT_EQ(files.held_out.back().target, all.pairs[199].target);
  r.held_out = 200;
  EXPECT_TRUE(refuses([&] { data_of(r); }, {"a.en", "200 of 200 pairs"}));

  r.files.reset(), r.pairs = 50, r.held_out = 9, r.model.positions = 128;
  const Data demo = data_of(r);
  EXPECT_EQ(demo.pairs.size(), 50u);
  ASSERT_EQ(demo.held_out.size(), 9u);
  const demo::EvaluationSet& first = demo::evaluation_sets().front();
  ASSERT_TRUE(first.held_out);
  EXPECT_TRUE(std::ranges::equal(std::span(demo.held_out.front().source).first(first.pairs.front().english.size()),
                                 first.pairs.front().english));
}

TEST(TrainingData, FilesAndTheLanguageItselfGiveTheSameIds) {
  const Texts texts;
  Recipe r = texts.recipe;
  const Data from_files = data_of(r);
  r.files.reset(), r.pairs = 200, r.data_seed = 1;
  const Data made = data_of(r);
  EXPECT_EQ(from_files.vocabulary, made.vocabulary);
  EXPECT_EQ(from_files.tokenizer_json, made.tokenizer_json);
  ASSERT_EQ(from_files.pairs.size(), made.pairs.size());
  for (std::size_t i = 0; i < made.pairs.size(); ++i) {
    EXPECT_EQ(from_files.pairs[i].source, made.pairs[i].source) << i;
    EXPECT_EQ(from_files.pairs[i].target, made.pairs[i].target) << i;
  }
}

TEST(Checkpoint, OfAnotherRecipeOrDamagedIsRefusedInALine) {
  const Texts texts;
  const fs::path state = texts.folder("out") / "training.safetensors";
  {
    Training t = texts.training("out", R"({"training": {"seed": 1, "steps": 6}})");
    t.run(until(t, 1));
  }
  const auto resumed = [&](const std::string& text) { texts.training("out", text).resume(); };
  EXPECT_NO_THROW(resumed(R"({"training": {"seed": 1, "steps": 6}})"));
  EXPECT_TRUE(refuses([&] { resumed(R"({"training": {"seed": 1, "steps": 7}})"); },
                      {"training.safetensors", "another recipe", "training.steps was 6 and is 7"}));
  EXPECT_TRUE(refuses([&] { resumed(R"({"training": {"steps": 6}})"); }, {"training.seed was 1 and is not set"}));
  const std::string whole = bytes_of(state), text = R"({"training": {"seed": 1, "steps": 6}})";
  const auto damaged = [&](const std::string& bytes) {
    texts.scratch.write("out/training.safetensors", bytes);
    return [&] { resumed(text); };
  };
  std::string flipped = whole;
  flipped[flipped.find("F32")] = 'G';
  EXPECT_TRUE(refuses(damaged(flipped), {"training.safetensors"}));
  flipped = whole;
  flipped[3] = static_cast<char>(flipped[3] ^ 0x40);  // of the header's length
  EXPECT_TRUE(refuses(damaged(flipped), {"training.safetensors"}));
  const auto cut = damaged(whole.substr(0, whole.size() - 100));
  EXPECT_TRUE(refuses(cut, {"training.safetensors", "the file is incomplete; ", "model.safetensors beside it is whole",
                            "train anew (fovea train … --fresh)"}));
  EXPECT_FALSE(has(message_of(cut), "fetch")) << "nobody else has it";
  const std::string model = bytes_of(texts.folder("out") / "model.safetensors");
  texts.scratch.write("out/model.safetensors", model.substr(0, model.size() / 2));
  EXPECT_FALSE(has(message_of(cut), "is whole"));
  EXPECT_TRUE(refuses(cut, {"training cannot go on from it: train anew"}));
  texts.scratch.write("out/model.safetensors", model);
  EXPECT_TRUE(refuses(damaged(""), {"training.safetensors"}));
  std::string renamed = whole;  // the same length: only this name is another
  renamed.replace(renamed.find("\"second.model.shared"), 20, "\"second.model.sharex");
  EXPECT_TRUE(refuses(damaged(renamed), {"out", "second moment \"model.shared.weight\""}));
  const std::string number = "\"step\":\"1\"";
  ASSERT_NE(whole.find(number), whole.npos);
  std::string lettered = whole;
  lettered[lettered.find(number) + 8] = 'x';
  EXPECT_TRUE(refuses(damaged(lettered), {"step is \"x\"", "a whole number"}));
  EXPECT_NO_THROW(damaged(whole)());
}

TEST(Checkpoint, AFullDiskKeepsTheOldOne) {
  const Texts texts;
  Training t = texts.training("out");
  t.run(until(t, 1));
  const fs::path state = texts.folder("out") / "training.safetensors",
                 model = texts.folder("out") / "model.safetensors";
  const std::string old_state = bytes_of(state), old_model = bytes_of(model);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit little{1 << 16, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &little);
  const std::string message = message_of([&] { t.run(until(t, 2)); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(has(message, "training.safetensors: cannot") && has(message, "what was there before is untouched"))
      << message;
  EXPECT_TRUE(bytes_of(state) == old_state);
  EXPECT_TRUE(bytes_of(model) == old_model);
  Training again = texts.training("out");
  again.resume();
  EXPECT_EQ(again.step(), 1);
}

TEST(Checkpoint, AFolderThatCannotBeWrittenIsKnownBeforeTheFirstStep) {
  const Texts texts;
  Training beneath_a_file(texts.recipe, "recipe", texts.scratch / "a.en" / "out");
  EXPECT_TRUE(refuses([&] { beneath_a_file.run({}); }, {"a.en/out: cannot be made a folder"}));
  EXPECT_EQ(beneath_a_file.step(), 0);

  Training t = texts.training("out");
  t.run(until(t, 1));
  const std::string old = bytes_of(texts.folder("out") / "training.safetensors");
  const bool root = geteuid() == 0;
  fs::permissions(texts.scratch.path(), fs::perms(0755));
  fs::permissions(texts.folder("out"), fs::perms(0555));
  if (root) {
    ASSERT_EQ(seteuid(65534), 0);  // nobody: root may write anywhere
  }
  const std::string message = message_of([&] { t.run(until(t, 2)); });
  if (root) { ASSERT_EQ(seteuid(0), 0); }
  fs::permissions(texts.folder("out"), fs::perms(0755));
  EXPECT_TRUE(has(message, "training.safetensors: cannot be created: Permission denied")) << message;
  EXPECT_EQ(t.step(), 1);
  EXPECT_TRUE(bytes_of(texts.folder("out") / "training.safetensors") == old);
}

TEST(Training, StopsWhenTheLossIsNoNumberAndSaysWhereItWasGood) {
  Texts texts;
  texts.recipe.schedule.peak = 1e38;
  texts.recipe.schedule.warmup = 0;
  Training none = texts.training("none");
  EXPECT_TRUE(
      refuses([&] { none.run({}); }, {"of step 2 is", "no number", "No checkpoint was written yet", "learning_rate"}));
  EXPECT_FALSE(has_state(texts.folder("none")));
  texts.recipe.checkpoint_every = 1;
  Training some = texts.training("some");
  EXPECT_TRUE(
      refuses([&] { some.run({}); }, {"of step 2 is", "some holds the state after step 1", "lower learning_rate"}));
}

}  // namespace
}  // namespace fovea::train
