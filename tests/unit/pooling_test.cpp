// From token vectors to one vector per text, as modules.json says.
#include "models/pooling.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/errors.hpp"
#include "support/small_bert.hpp"

namespace fovea::models {
namespace {

using nlohmann::json;
using plain::Folder;
using plain::Matrix;
using plain::Row;
using plain::Store;
using testing::refuses;

constexpr int kWidth = 5;

/// Sequences of 4 and 1 tokens.
Result two_sequences(const Matrix& hidden) {
  return {.ends = {4, 5}, .hidden = plain::tensor(hidden), .layers = {}, .hidden_states = {}};
}
const Matrix kHidden = plain::random_matrix(5, kWidth, 1);

json module(const char* type, const char* path) {
  return {{"idx", 0}, {"name", "x"}, {"path", path}, {"type", std::string("sentence_transformers.models.") + type}};
}

void write_modules(const Folder& folder, const json& pooling, const std::vector<json>& more = {}) {
  json modules = {module("Transformer", ""), module("Pooling", "1_Pooling")};
  for (const json& m : more) modules.push_back(m);
  folder.write("modules.json", modules);
  folder.write("1_Pooling/config.json", pooling);
}

/// f over the values of one channel of rows [begin, end).
template <class F>
Row by_channel(std::size_t begin, std::size_t end, F f) {
  Row row;
  for (std::size_t c = 0; c < kWidth; ++c) {
    Row channel;
    for (std::size_t r = begin; r < end; ++r) channel.push_back(kHidden[r][c]);
    row.push_back(f(channel));
  }
  return row;
}

double mean(const Row& x) {
  double sum = 0;
  for (const double v : x) sum += v;
  return sum / static_cast<double>(x.size());
}

TEST(Pooling, IsTheMeanWhereTheFolderIsSilent) {
  const Folder folder;
  const Pooling pooling = Pooling::load(folder.path(), kWidth);
  EXPECT_NE(pooling.description().find("no modules.json"), std::string::npos);
  const Matrix expected{by_channel(0, 4, mean), kHidden[4]};
  EXPECT_LT(plain::worst(expected, pooling(two_sequences(kHidden))), 1e-6);
}

TEST(Pooling, EveryReduction) {
  const auto most = [](const Row& x) { return *std::ranges::max_element(x); };
  const auto by_root = [](const Row& x) { return mean(x) * std::sqrt(static_cast<double>(x.size())); };
  const auto weighted = [](const Row& x) {
    double sum = 0, weights = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      sum += static_cast<double>(i + 1) * x[i], weights += static_cast<double>(i + 1);
    return sum / weights;
  };
  struct Case {
    const char *flag, *mode;
    Row expected;
  };
  const Case cases[] = {{"pooling_mode_cls_token", "cls", kHidden[0]},
                        {"pooling_mode_max_tokens", "max", by_channel(0, 4, most)},
                        {"pooling_mode_mean_tokens", "mean", by_channel(0, 4, mean)},
                        {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", by_channel(0, 4, by_root)},
                        {"pooling_mode_weightedmean_tokens", "weightedmean", by_channel(0, 4, weighted)},
                        {"pooling_mode_lasttoken", "lasttoken", kHidden[3]}};
  for (const Case& c : cases)
    for (const json& config :
         {json{{c.flag, true}, {"word_embedding_dimension", kWidth}}, json{{"pooling_mode", c.mode}}}) {
      const Folder folder;
      write_modules(folder, config);
      const Pooling pooling = Pooling::load(folder.path(), kWidth);
      EXPECT_EQ(pooling.width(), kWidth);
      const Tensor found = pooling(two_sequences(kHidden));
      EXPECT_LT(plain::worst({c.expected, kHidden[4]}, found), 1e-6) << config.dump();
    }
}

TEST(Pooling, SeveralAreConcatenatedAndNormalised) {
  const Folder folder;
  write_modules(
      folder,
      {{"pooling_mode_mean_tokens", true}, {"pooling_mode_cls_token", true}, {"pooling_mode_max_tokens", false}},
      {module("Dropout", "3_Dropout"), module("Normalize", "2_Normalize")});
  const Pooling pooling = Pooling::load(folder.path(), kWidth);
  EXPECT_EQ(pooling.width(), 2 * kWidth);
  EXPECT_EQ(pooling.description(), "first token | mean over tokens, then normalised (modules.json)");
  Row joined = kHidden[0];
  const Row average = by_channel(0, 4, mean);
  joined.insert(joined.end(), average.begin(), average.end());
  double squares = 0;
  for (const double x : joined) squares += x * x;
  for (double& x : joined) x /= std::sqrt(squares);
  const Tensor found = pooling(two_sequences(kHidden));
  EXPECT_EQ(found.shape(), (Shape{2, 10}));
  EXPECT_LT(plain::worst({joined}, found), 1e-6);
}

TEST(Pooling, AZeroVectorStaysZeroAndANaNIsSeen) {
  const Folder folder;
  write_modules(folder, {{"pooling_mode", "max"}}, {module("Normalize", "2_Normalize")});
  const Pooling pooling = Pooling::load(folder.path(), kWidth);
  const Matrix zeros(5, Row(kWidth, 0.0));
  EXPECT_EQ(plain::worst({Row(kWidth, 0.0)}, pooling(two_sequences(zeros))), 0);
  for (const std::size_t row : {0u, 2u}) {
    Matrix broken = kHidden;
    broken[row][1] = std::nan("");
    EXPECT_TRUE(std::isnan(pooling(two_sequences(broken)).values<float>()[1])) << "row " << row;
  }
}

TEST(Pooling, DenseAfterPooling) {
  for (const bool bias : {true, false}) {
    const Folder folder;
    Store store(2);
    store.add_linear("linear", kWidth, 3, bias);
    write_modules(folder, {{"pooling_mode", "cls"}}, {module("Dense", "2_Dense")});
    folder.write("2_Dense/config.json", json{{"in_features", kWidth},
                                             {"out_features", 3},
                                             {"bias", bias},
                                             {"activation_function", "torch.nn.modules.activation.Tanh"}});
    folder.write("2_Dense/model.safetensors", store);
    const Pooling pooling = Pooling::load(folder.path(), kWidth);
    EXPECT_EQ(pooling.width(), 3);
    const Matrix expected =
        plain::map(plain::linear(store, "linear", {kHidden[0], kHidden[4]}), [](double x) { return std::tanh(x); });
    EXPECT_LT(plain::worst(expected, pooling(two_sequences(kHidden))), 1e-6);
  }
}

TEST(Pooling, WhatIsNotUnderstoodIsRefusedByName) {
  const auto with = [](const json& modules, const json& pooling, const std::vector<std::string_view>& says) {
    const Folder folder;
    folder.write("modules.json", modules);
    folder.write("1_Pooling/config.json", pooling);
    return refuses([&] { Pooling::load(folder.path(), kWidth); }, says);
  };
  const json pooling = module("Pooling", "1_Pooling"), mean_tokens = {{"pooling_mode_mean_tokens", true}};
  EXPECT_TRUE(with({module("Transformer", ""), module("WordWeights", "1")}, {}, {"modules.json", "WordWeights"}));
  EXPECT_TRUE(with({module("Transformer", ""), module("Normalize", "1"), pooling}, mean_tokens, {"Normalize"}));
  EXPECT_TRUE(with({pooling, pooling}, mean_tokens, {"Pooling"}));
  EXPECT_TRUE(with(json::array({module("Transformer", "")}), {}, {"no Pooling module"}));
  EXPECT_TRUE(with(json::object(), {}, {"modules.json", "list"}));
  EXPECT_TRUE(with(json::array({3}), {}, {"modules.json", "object"}));
  EXPECT_TRUE(with(json::array({module("Pooling", "../1_Pooling")}), mean_tokens, {"../1_Pooling"}));
  EXPECT_TRUE(with(json::array({module("Pooling", "/etc")}), mean_tokens, {"/etc"}));
  EXPECT_TRUE(with(json::array({module("Pooling", "2_Pooling")}), mean_tokens, {"2_Pooling"}));
  EXPECT_TRUE(with(json::array({pooling}), {{"pooling_mode_mean_tokens", false}}, {"config.json", "no pooling mode"}));
  EXPECT_TRUE(with(json::array({pooling}), {{"pooling_mode", "median"}}, {"config.json", "median"}));
  EXPECT_TRUE(with(json::array({pooling}), {{"pooling_mode_mean_tokens", 1}}, {"pooling_mode_mean_tokens"}));
  EXPECT_TRUE(with(json::array({pooling}), {{"pooling_mode", "cls"}, {"word_embedding_dimension", 6}},
                   {"word_embedding_dimension", "6", "5"}));
}

TEST(Pooling, ADenseModuleThatDoesNotFitIsRefused) {
  const auto with = [](const json& config, const std::vector<std::string_view>& says) {
    const Folder folder;
    Store store(3);
    store.add_linear("linear", kWidth, 3);
    write_modules(folder, {{"pooling_mode", "cls"}}, {module("Dense", "2_Dense")});
    folder.write("2_Dense/config.json", config);
    folder.write("2_Dense/model.safetensors", store);
    return refuses([&] { Pooling::load(folder.path(), kWidth); }, says);
  };
  EXPECT_TRUE(with({{"in_features", 6}, {"out_features", 3}}, {"in_features", "6", "5"}));
  EXPECT_TRUE(with({{"in_features", kWidth}, {"out_features", 4}}, {"linear.weight", "[3, 5]", "[4, 5]"}));
  EXPECT_TRUE(with({{"in_features", kWidth}, {"out_features", 3}, {"activation_function", "torch.nn.Softmax"}},
                   {"torch.nn.Softmax"}));
}

}  // namespace
}  // namespace fovea::models
