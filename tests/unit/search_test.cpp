// What a search is told: generation_config.json, and the rules that it makes. What it finds is held to transformers by
// marian_golden_test.
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/rules.hpp"
#include "runtime/searches.hpp"
#include "support/errors.hpp"
#include "support/scratch.hpp"

namespace fovea::runtime {
namespace {

using nlohmann::json;
using testing::refuses;

models::Summary summary() {
  models::Summary s;
  s.positions = 20, s.vocabulary = 10;
  return s;
}

Generation generation(const json& config, const char* file = "generation_config.json") {
  const testing::Scratch scratch;
  scratch.write(file, config.dump());
  return generation_of(scratch.path(), {.start = 3, .end = 1, .pad = 0}, summary());
}

/// Ids that may follow.
std::vector<int> allowed(const Generation& g, const std::vector<int>& written) {
  std::vector<float> scores(10, -1.0f);
  Rules(g).apply(written, scores);
  std::vector<int> ids;
  for (int i = 0; i < 10; ++i)
    if (!std::isinf(scores[static_cast<std::size_t>(i)])) ids.push_back(i);
  return ids;
}

TEST(Generation, IsAsTheFolderSaysAndElseAsTheModelIs) {
  const Generation silent = generation(json::object());
  EXPECT_EQ(silent.beams, 1);
  EXPECT_EQ(silent.start, 3);
  EXPECT_EQ(silent.ends, std::vector<int>{1});
  EXPECT_EQ(silent.max_length, 21) << "its last token takes no position";
  const Generation told =
      generation({{"num_beams", 4}, {"early_stopping", "never"}, {"max_length", 500}, {"eos_token_id", {1, 7}}});
  EXPECT_EQ(told.beams, 4);
  EXPECT_EQ(told.early_stop, EarlyStop::Never);
  EXPECT_EQ(told.max_length, 21);
  EXPECT_EQ(told.ends, (std::vector<int>{1, 7}));
  EXPECT_EQ(generation({{"max_new_tokens", 5}, {"max_length", 9}}).max_length, 6);
  EXPECT_EQ(generation({{"num_beams", 3}}, "config.json").beams, 3);
}

TEST(Generation, WhatIsNotKnownIsRefused) {
  EXPECT_TRUE(refuses([] { generation({{"do_sample", true}}); }, {"do_sample", "true", "generation_config.json"}));
  EXPECT_TRUE(refuses([] { generation({{"repetition_penalty", 1.2}}); }, {"repetition_penalty", "1.2"}));
  EXPECT_TRUE(refuses([] { generation({{"early_stopping", "soon"}}); }, {"early_stopping", "soon", "never"}));
  EXPECT_TRUE(refuses([] { generation({{"bad_words_ids", {{10}}}}); }, {"bad_words_ids", "0 to 9"}));
  EXPECT_TRUE(refuses([] { generation({{"bad_words_ids", {json::array()}}}); }, {"bad_words_ids"}));
  EXPECT_TRUE(refuses([] { generation({{"eos_token_id", 12}}); }, {"eos_token_id", "12", "0 to 9"}));
  EXPECT_TRUE(refuses([] { generation({{"num_beams", 2}, {"num_return_sequences", 3}}); }, {"num_return_sequences"}));
  EXPECT_TRUE(refuses([] { generation(json::array()); }, {"array", "object"}));
  EXPECT_EQ(generation({{"repetition_penalty", 1.0}, {"do_sample", false}, {"suppress_tokens", json::array()}}).beams,
            1);
}

TEST(Rules, ForbidWhatTheySay) {
  using Ids = std::vector<int>;
  Generation g;
  g.max_length = 6, g.ends = {1}, g.min_length = 3;
  g.never = {{4}, {5, 6}, {1}};  // that the end must not come is not for a bad word to say
  EXPECT_EQ(allowed(g, {3}), (Ids{0, 2, 3, 5, 6, 7, 8, 9})) << "too short to end";
  EXPECT_EQ(allowed(g, {3, 2, 5}), (Ids{0, 1, 2, 3, 5, 7, 8, 9})) << "6 after 5 is a bad word";
  g.no_repeat = 2;
  EXPECT_EQ(allowed(g, {3, 7, 8, 7}), (Ids{0, 1, 2, 3, 5, 6, 7, 9})) << "7 8 is there already";
  EXPECT_EQ(allowed(g, {7}), (Ids{0, 2, 3, 5, 6, 7, 8, 9}));
}

TEST(Rules, ForceTheFirstTokenAndTheLast) {
  Generation g;
  g.max_length = 4, g.ends = {1}, g.forced_begin = 8, g.forced_end = 1;
  EXPECT_EQ(allowed(g, {3}), std::vector<int>{8});
  EXPECT_EQ(allowed(g, {3, 8}).size(), 10u);
  EXPECT_EQ(allowed(g, {3, 8, 2}), std::vector<int>{1});
  std::vector<float> scores(10, -1.0f);
  Rules(g).apply(std::vector{3}, scores);
  EXPECT_EQ(scores[8], 0.0f) << "what is forced costs nothing";
}

TEST(Search, ABrokenModelIsSaidToBeOne) {
  std::vector<float> row{0, std::nanf(""), 1};
  EXPECT_TRUE(refuses([&] { log_softmax_row(row); }, {"not a number"}));
  row = {0, std::log(3.0f)};
  log_softmax_row(row);
  EXPECT_NEAR(row[0], std::log(0.25), 1e-6);
}

}  // namespace
}  // namespace fovea::runtime
