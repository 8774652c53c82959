// The recurrent family as something that learns, writes and is looked into. What it computes is held to PyTorch by
// recurrent_golden_test.
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/recurrent.hpp"
#include "ops/cross_entropy.hpp"
#include "ops/tape.hpp"
#include "runtime/search.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/small_marian.hpp"
#include "train/adamw.hpp"
#include "train/recurrent_start.hpp"

namespace fovea::models {
namespace {

using testing::refuses;

constexpr int kWidth = 16, kVocabulary = 23;

/// Random weights large enough that attention has peaks.
plain::Store store_of(bool attention, std::uint64_t seed) {
  plain::Store store(seed);
  const train::RecurrentStart start({attention, kVocabulary, 20, kWidth, 0}, 1);
  for (const std::string& name : start.names()) store.add(name, start.info(name).shape, 0, 0.4);
  return store;
}

RecurrentConfig config_of(bool attention, double dropout = 0) {
  const auto text = train::recurrent_config_json({attention, kVocabulary, 20, kWidth, dropout}).dump();
  return recurrent_config(nlohmann::json::parse(text), "small/config.json");
}

/// One for training, with handles to its parameters.
struct Learning {
  plain::Store store;
  plain::StoreSource source{store};
  nn::Weights weights{source, nn::Purpose::Training};
  Recurrent model;
  Learning(bool attention, std::uint64_t seed, double dropout = 0)
      : store(store_of(attention, seed)), model(config_of(attention, dropout), weights) {}
};

struct Loaded {
  plain::Store store;
  Recurrent model;
  explicit Loaded(bool attention, std::uint64_t seed = 4)
      : store(store_of(attention, seed)), model(config_of(attention), nn::Weights(plain::StoreSource(store))) {}
};

struct Batch {
  std::vector<Sequence> sources, targets;
  std::vector<int> wanted;  // [target tokens]
};

Batch batch() {
  return {{{{3, 9, 4, 1}, {}, 0}, {{7, 5, 12, 20, 2, 1}, {}, 0}, {{1}, {}, 0}},
          {{{0, 8, 6}, {}, 0}, {{0, 11, 21, 8, 19}, {}, 0}, {{0}, {}, 0}},
          {8, 6, 1, 11, 21, 8, 19, 1, 1}};
}

Tensor loss_of(const Recurrent& model, const Batch& b) {
  const Result read = model.encode(b.sources);
  return cross_entropy(model.vocabulary_logits(model.decode(read, b.targets).hidden), b.wanted, {.smoothing = 0.1f});
}

double value_of(const Tensor& loss) { return double{loss.values<float>()[0]}; }

std::map<std::string, Tensor> gradients_of(const Learning& l, const Batch& b, std::uint64_t seed = 0) {
  Tape tape(seed);
  for (const auto& [name, tensor] : l.weights.trainable()) tape.watch(tensor);
  tape.backward(loss_of(l.model, b));
  std::map<std::string, Tensor> gradients;
  for (const auto& [name, tensor] : l.weights.trainable()) gradients[name] = tape.gradient(tensor);
  return gradients;
}

std::vector<float> values(const Tensor& t) { return {t.values<float>().begin(), t.values<float>().end()}; }

class RecurrentFamily : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(, RecurrentFamily, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Additive" : "None"; });

TEST_P(RecurrentFamily, GradientsReachEveryParameterAndAreSlopesOfTheLoss) {
  const Learning l(GetParam(), 1);
  const Batch b = batch();
  const std::map<std::string, Tensor> gradients = gradients_of(l, b);
  EXPECT_EQ(gradients.size(), l.store.tensors.size());
  for (const auto& [name, parameter] : l.weights.trainable())
    testing::expect_largest_slope(name, parameter, gradients.at(name), [&] { return value_of(loss_of(l.model, b)); });
}

TEST_P(RecurrentFamily, OverfitsABatchAndThenWritesIt) {
  const Learning l(GetParam(), 2, 0.05);
  const Batch b = batch();
  EXPECT_GT(value_of(loss_of(l.model, b)), 2.5);
  train::AdamW optimiser(l.weights.trainable(), {});
  for (int step = 1; step <= 100; ++step) optimiser.step(gradients_of(l, b, static_cast<std::uint64_t>(step)), 0.01, 1);
  // Smoothing by 0.1 over 23 words leaves a floor of 0.58.
  EXPECT_LT(value_of(loss_of(l.model, b)), 0.7);
  runtime::Generation how;
  how.max_length = 10, how.ends = {1};
  for (const int beams : {1, 3}) {
    how.beams = beams;
    const auto written = runtime::write(l.model, b.sources, how);
    EXPECT_EQ(written[0][0].ids, (std::vector<int>{0, 8, 6, 1})) << beams;
    EXPECT_EQ(written[1][0].ids, (std::vector<int>{0, 11, 21, 8, 19, 1})) << beams;
    EXPECT_EQ(written[2][0].ids, (std::vector<int>{0, 1})) << beams;
  }
}

/// Rows leave as they end, and others stand twice, as beams do.
TEST_P(RecurrentFamily, ATokenAtATimeIsThePassOverTheWhole) {
  const Loaded l(GetParam());
  const Batch b = batch();
  const Result read = l.model.encode(b.sources);
  const Tensor whole = l.model.vocabulary_logits(l.model.decode(read, b.targets).hidden);  // [target tokens, words]
  const std::vector<int> first{0, 3, 8};
  const std::unique_ptr<Decoding> decoding = l.model.begin(read);
  std::vector<int> rows{0, 0, 1, 2, 2};  // target of each row
  decoding->select(rows);
  for (std::size_t step = 0; !rows.empty(); ++step) {
    std::vector<int> ids, going, left;
    for (const int target : rows) ids.push_back(b.targets[static_cast<std::size_t>(target)].ids[step]);
    const Tensor logits = decoding->step(ids);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto target = static_cast<std::size_t>(rows[r]), at = static_cast<std::size_t>(first[target]) + step;
      for (std::size_t w = 0; w < kVocabulary; ++w)
        ASSERT_NEAR(logits.values<float>()[r * kVocabulary + w], whole.values<float>()[at * kVocabulary + w], 2e-5)
            << "target " << target << " step " << step;
      if (step + 1 < b.targets[target].ids.size()) going.push_back(static_cast<int>(r)), left.push_back(rows[r]);
    }
    decoding->select(going);
    rows = left;
  }
}

TEST_P(RecurrentFamily, ATextHasTheSameBitsAloneAndInABatch) {
  const Loaded l(GetParam());
  const Batch b = batch();
  const Result read = l.model.encode(b.sources);
  const Result written = l.model.decode(read, b.targets);
  int begin = 0;
  for (std::size_t i = 0; i < b.sources.size(); ++i) {
    const Result alone = l.model.encode(std::span(&b.sources[i], 1));
    const std::vector<float> hidden = values(l.model.decode(alone, std::span(&b.targets[i], 1)).hidden);
    EXPECT_EQ(hidden, std::vector<float>(written.hidden.values<float>().begin() + begin * kWidth,
                                         written.hidden.values<float>().begin() + written.ends[i] * kWidth));
    begin = written.ends[i];
  }
}

TEST_P(RecurrentFamily, DropoutFallsOnlyOnATape) {
  const Learning l(GetParam(), 3, 0.3);
  const auto on_tape = [&](std::uint64_t seed) {
    Tape tape(seed);
    for (const auto& [name, tensor] : l.weights.trainable()) tape.watch(tensor);
    return value_of(loss_of(l.model, batch()));
  };
  EXPECT_EQ(on_tape(5), on_tape(5));
  EXPECT_NE(on_tape(5), on_tape(6));
  const Loaded plain(GetParam(), 3);
  EXPECT_NEAR(value_of(loss_of(l.model, batch())), value_of(loss_of(plain.model, batch())), 1e-5);
}

TEST_P(RecurrentFamily, WhatDoesNotFitIsNamed) {
  const Loaded l(GetParam());
  const Batch b = batch();
  const Result read = l.model.encode(b.sources);
  EXPECT_TRUE(refuses([&] { l.model.decode(read, std::span(b.targets).first(1)); }, {"3 sources and 1 targets"}));
  const std::vector<Sequence> unknown{{{3, 23}, {}, 0}};
  EXPECT_TRUE(refuses([&] { l.model.encode(unknown); }, {"token id 23", "0 to 22"}));
  const std::unique_ptr<Decoding> decoding = l.model.begin(read);
  EXPECT_TRUE(refuses([&] { decoding->step(std::vector{0}); }, {"1 ids", "3 rows"}));
  EXPECT_TRUE(refuses([&] { decoding->select(std::vector{1, 0}); }, {"change order"}));
  for (int i = 0; i < 20; ++i) decoding->step(std::vector{0, 0, 0});
  EXPECT_TRUE(refuses([&] { decoding->step(std::vector{0, 0, 0}); }, {"20 positions", "max_length"}));
  plain::Store broken = l.store;
  broken.tensors.erase("decoder.context.weight");
  EXPECT_TRUE(refuses([&] { Recurrent(config_of(GetParam()), nn::Weights(plain::StoreSource(broken))); },
                      {"decoder.context.weight", "missing"}));
}

TEST(Recurrent, ConfigsThatCannotBeAreRefused) {
  const auto with = [](const char* key, const nlohmann::json& value) {
    nlohmann::json config = nlohmann::json::parse(train::recurrent_config_json({}).dump());
    config["vocab_size"] = 50, config[key] = value;
    return [config] { recurrent_config(config, "folder/config.json"); };
  };
  EXPECT_TRUE(refuses(with("attention", "dot"), {"folder/config.json", "\"dot\"", "additive", "none"}));
  EXPECT_TRUE(refuses(with("hidden_size", 7), {"hidden_size is 7", "even"}));
  EXPECT_TRUE(refuses(with("vocab_size", 0), {"vocab_size", "0"}));
  EXPECT_TRUE(refuses(with("eos_token_id", 50), {"eos_token_id", "50"}));
}

// ------------------------------------------------------------------------------------------------------------- looking

TEST(Recurrent, TheRecordOfItsAttentionIsWhatItAttendedTo) {
  const Loaded l(true);
  const Batch b = batch();
  DecoderPass pass;
  pass.record_attention = pass.record_hidden = true;
  const Result read = l.model.encode(b.sources, pass), written = l.model.decode(read, b.targets, pass);
  EXPECT_TRUE(read.layers.empty()) << "annotations attend to nothing";
  ASSERT_EQ(written.layers.size(), 1u);
  const LayerRecord& cross = written.layers[0];
  EXPECT_EQ(cross.kind, "cross");
  EXPECT_EQ(*cross.ends, (std::vector<int>{3, 8, 9}));
  EXPECT_EQ(*cross.key_ends, (std::vector<int>{4, 10, 11}));
  float most = 0;
  for (int row = 0; row < 5; ++row) {
    const std::vector<float> weights = cross.attention.weights({1, 0, row});
    ASSERT_EQ(weights.size(), 6u);
    float sum = 0;
    for (const float w : weights) sum += w, most = std::max(most, w);
    EXPECT_NEAR(sum, 1, 1e-5f);
    EXPECT_LT(cross.attention.max_abs_error({1, 0, row}), 1e-5);
  }
  EXPECT_GT(most, 0.25f) << "weights that are all alike would show nothing";
  EXPECT_EQ(written.hidden_states.size(), 2u);
}

TEST(Recurrent, EdgesOfItsAttentionCanBeCut) {
  const Loaded l(true);
  const Batch b = batch();
  DecoderPass pass;
  pass.record_attention = true;
  pass.cross_mask = [](int) {
    return AnyMask(mask([](Site s) { return !(s.batch == 1 && s.query == 2 && s.key == 4); }));
  };
  const Result read = l.model.encode(b.sources);
  const Result whole = l.model.decode(read, b.targets), cut = l.model.decode(read, b.targets, pass);
  EXPECT_EQ(cut.layers[0].attention.weights({1, 0, 2})[4], 0.0f);
  EXPECT_GT(cut.layers[0].attention.weights({1, 0, 3})[4], 0.0f);
  const auto row = [](const Result& r, int i) {
    return std::vector<float>(r.hidden.values<float>().begin() + i * kWidth,
                              r.hidden.values<float>().begin() + (i + 1) * kWidth);
  };
  for (const int before : {0, 1, 2, 3, 4}) EXPECT_EQ(row(whole, before), row(cut, before)) << before;
  for (const int after : {5, 6, 7}) EXPECT_NE(row(whole, after), row(cut, after)) << "a state remembers";
}

TEST(Recurrent, ValuesOfTheSourceCanBeZeroed) {
  const Loaded l(true);
  const Batch b = batch();
  DecoderPass pass;
  pass.record_attention = true;
  pass.cross_values = [](int, Tensor& v) { std::ranges::fill(v.values<float>(), 0.0f); };
  const Result read = l.model.encode(b.sources);
  const std::vector<float> before = values(read.hidden);
  const Result written = l.model.decode(read, b.targets, pass);
  EXPECT_EQ(values(read.hidden), before);
  for (const float x : written.layers[0].attention.out.values<float>()) EXPECT_EQ(x, 0.0f);
  EXPECT_NE(values(written.hidden), values(l.model.decode(read, b.targets).hidden));
}

TEST(Recurrent, ItsHeadIsNotEditedInSilence) {
  const Loaded l(true);
  const Batch b = batch();
  DecoderPass pass;
  pass.cross_heads = [](int, const Tensor& out) { return out; };
  EXPECT_TRUE(refuses([&] { l.model.decode(l.model.encode(b.sources), b.targets, pass); }, {"one head", "cut edges"}));
}

TEST(Recurrent, WithoutAttentionTheSourceIsOneVector) {
  const Loaded l(false);
  const Batch b = batch();
  Result read = l.model.encode(b.sources);
  const std::vector<float> before = values(l.model.decode(read, b.targets).hidden);
  // Of the second source's six annotations, those that are neither the last nor the first have no way out.
  for (int token = 5; token < 9; ++token) std::fill_n(read.hidden.data<float>() + token * kWidth, kWidth, 9.0f);
  EXPECT_EQ(values(l.model.decode(read, b.targets).hidden), before);
  EXPECT_TRUE(l.model
                  .decode(read, b.targets,
                          [] {
                            DecoderPass pass;
                            pass.record_attention = true;
                            return pass;
                          }())
                  .layers.empty());
}

}  // namespace
}  // namespace fovea::models
