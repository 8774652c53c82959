// fovea translate on real folders: the translation that transformers gives, the contract of its JSON, lines of standard
// input, and what it refuses.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "io/safetensors.hpp"
#include "models/encoder_decoder.hpp"
#include "program.hpp"

namespace fovea::testing {
namespace {

using nlohmann::json;

const std::string kMarian = FOVEA_TEST_DATA "/marian_small", kOdd = FOVEA_TEST_DATA "/marian_odd",
                  kBart = FOVEA_TEST_DATA "/bart_small";
const std::string kBert = FOVEA_TEST_DATA "/bert_base";

json golden_text(const std::string& folder) {
  return json::parse(io::SafeTensors(folder + "/expected.safetensors").metadata().at("text"));
}

/// Standard input.
Setting from(const std::string& input) {
  Setting setting;
  setting.input = input;
  return setting;
}

Words keys_of(const nlohmann::ordered_json& object) {
  Words keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST(TranslateCommand, WritesWhatTransformersWritesAsTheFolderSays) {
  for (const std::string& folder : {kMarian, kOdd, kBart}) {
    const json want = golden_text(folder);
    const auto got = json_of(fovea({"translate", want.at("text").get<std::string>(), "--model", folder, "--json"}));
    EXPECT_EQ(keys_of(got), (Words{"model", "translation", "tokens", "target_tokens", "score"}));
    EXPECT_EQ(got["translation"], want.at("translation").get<std::string>());
    std::vector<int> ids{0};
    for (const auto& t : got["target_tokens"]) ids.push_back(t["id"].get<int>());
    EXPECT_EQ(ids, want.at("ids").get<std::vector<int>>());
    EXPECT_LT(got["score"].get<double>(), 0);
  }
}

TEST(TranslateCommand, TokensKnowTheirPlaces) {
  const json want = golden_text(kMarian);
  const auto text = want.at("text").get<std::string>(), translation = want.at("translation").get<std::string>();
  const auto got = json_of(fovea({"translate", text, "--model", kMarian, "--json"}));
  const auto check = [](const auto& tokens, const std::string& of, std::size_t special) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const auto begin = tokens[i]["begin"].template get<std::size_t>(),
                 end = tokens[i]["end"].template get<std::size_t>();
      EXPECT_EQ(of.substr(begin, end - begin), i == special ? "" : tokens[i]["text"].template get<std::string>());
    }
  };
  check(got["tokens"], text, got["tokens"].size() - 1);
  check(got["target_tokens"], translation, got["target_tokens"].size() - 1);
}

TEST(TranslateCommand, LinesComeOutAsTheyWentIn) {
  const auto text = golden_text(kMarian).at("text").get<std::string>();
  const std::string one = json_of(fovea({"translate", "the river", "--model", kMarian, "--json"}))["translation"];
  const std::string other = golden_text(kMarian).at("translation");
  const Outcome o = fovea({"translate", "-", "--model", kMarian}, from("the river\n\n" + text + "\nthe river\n"));
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_EQ(o.out, one + "\n\n" + other + "\n" + one + "\n");
  const auto together = json_of(fovea({"translate", "-", "--model", kMarian, "--json"}, from("the river\n" + text)));
  ASSERT_EQ(together["translations"].size(), 2u);
  EXPECT_EQ(together["translations"][1]["translation"], other);
}

TEST(TranslateCommand, BeamsAndLengthAreTheUsers) {
  const Outcome o = fovea({"translate", "the river", "--model", kOdd, "--beams", "1", "--max-length", "4", "--json"});
  const auto got = json_of(o);
  EXPECT_EQ(got["target_tokens"].size(), 3u);
  EXPECT_NE(o.err.find("--max-length"), std::string::npos) << o.err;
  const Translation same = load(kOdd).translate("the river", {.beams = 1, .max_length = 4});
  EXPECT_EQ(got["translation"], same.text);
  EXPECT_FALSE(same.whole);
}

TEST(TranslateCommand, LookSaysWhatEachWordLookedAt) {
  const json want = golden_text(kMarian);
  const auto text = want.at("text").get<std::string>();
  const auto got = json_of(fovea({"translate", text, "--model", kMarian, "--look", "--json"}));
  ASSERT_EQ(got["alignment"].size(), got["target_tokens"].size());
  // The same by hand: the decoder reads what was written, and its last layer's attention to the source is asked for
  // every row.
  const auto model = models::load_encoder_decoder(kMarian);
  models::Sequence source, target;
  for (const auto& t : got["tokens"]) source.ids.push_back(t["id"].get<int>());
  target.ids = want.at("ids").get<std::vector<int>>();
  target.ids.pop_back();
  models::DecoderPass pass;
  pass.record_attention = true;
  const models::Result written = model->decode(model->encode(std::span(&source, 1)), std::span(&target, 1), pass);
  const models::LayerRecord& cross = written.layers.at(3);  // of two layers: decoder, cross, decoder, cross
  ASSERT_EQ(cross.kind, "cross");
  for (std::size_t i = 0; i < target.ids.size(); ++i) {
    const auto at = got["alignment"][i]["source"].get<std::size_t>();
    std::vector<double> mean(source.ids.size());
    for (int h = 0; h < 4; ++h)
      for (std::size_t j = 0; j < mean.size(); ++j)
        mean[j] += double{cross.attention.weights({0, h, static_cast<int>(i)})[j]} / 4;
    mean.pop_back();  // </s> is no word
    EXPECT_EQ(at, static_cast<std::size_t>(std::ranges::max_element(mean) - mean.begin()));
    EXPECT_NEAR(got["alignment"][i]["weight"].get<double>(), mean[at], 1e-6);
  }
  const Outcome table = fovea({"translate", text, "--model", kMarian, "--look"});
  EXPECT_EQ(table.status, 0);
  EXPECT_NE(table.out.find("looking at"), std::string::npos);
}

TEST(TranslateCommand, AWordOutsideTheVocabularyIsRefusedWithWordsNearIt) {
  expect_error(fovea({"translate", "the rivre was Old", "--model", kMarian}), 1,
               {"\"rivre\"", "near: river", "\"Old\"", "near: old"});
  expect_error(fovea({"translate", "the qqqqqqqq", "--model", kMarian}), 1, {"\"qqqqqqqq\"", "nothing near it"});
  expect_error(fovea({"translate", "-", "--model", kMarian}, from("the river\nthe rivr\n")), 1,
               {"line 2: the text has", "\"rivr\"", "river"});
  expect_error(fovea({"translate", "-", "--model", kMarian}, from("the river\n \nthe rivr\n")), 1, {"line 3:"});
  std::string many = "the";
  for (int i = 0; i < 12; ++i) many += fmt::format(" qq{}qq", static_cast<char>('a' + i));
  expect_error(fovea({"translate", many, "--model", kMarian}), 1, {"\"qqhqq\"", "and 4 more"});
  // No minutes of looking for words near this one; what is printed of it is its beginning.
  expect_error(fovea({"translate", std::string(100'000, 'q'), "--model", kMarian}), 1, {"nothing near it", "…"});
}

TEST(TranslateCommand, WhatCannotBeDoneIsSaid) {
  expect_error(fovea({"translate", "the river", "--model", kBert}), 1, {"only reads", "marian"});
  expect_error(fovea({"translate", "the river", "--model", kMarian, "--beams", "0"}), 2, {"--beams"});
  expect_error(fovea({"translate", "the river", "--model", kMarian, "--max-length", "999"}), 1,
               {"max_length 999", "24 positions"});
  expect_error(fovea({"translate", "-", "--model", kMarian}, from("")), 1, {"no text"});
  std::string longer;
  for (int i = 0; i < 30; ++i) longer += "the river ";
  expect_error(fovea({"translate", longer, "--model", kMarian}), 1, {"61 tokens", "24 positions"});
  EXPECT_EQ(fovea({"translate", longer, "--model", kMarian, "--truncate"}).status, 0);
  expect_error(fovea({"run", "fill-mask", "the river", "--model", kMarian}), 1, {});
}

TEST(TranslateCommand, OtherCommandsReadWithTheEncoder) {
  const auto info = json_of(fovea({"info", "--model", kOdd, "--json"}));
  EXPECT_EQ(info["layers"], 3);
  EXPECT_EQ(info["decoder_layers"], 1);
  EXPECT_EQ(info["family"], "marian");
  const auto look = json_of(fovea({"look", "the old river", "--model", kOdd, "--json"}));
  EXPECT_EQ(look["model"]["layers"], 3);
  EXPECT_LT(look["proof"]["max_abs_error"].get<double>(), 1e-5);
}

}  // namespace
}  // namespace fovea::testing
