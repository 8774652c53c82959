// Marian as something that learns and that is looked into: gradients, training, shifted positions, edits. What it
// computes is held to transformers by marian_golden_test.
#include "models/marian.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include "ops/cross_entropy.hpp"
#include "ops/tape.hpp"
#include "runtime/search.hpp"
#include "support/errors.hpp"
#include "support/gradients.hpp"
#include "support/small_marian.hpp"

namespace fovea::models {
namespace {

using plain::marian_store;
using plain::small_marian;
using testing::refuses;

/// Two pairs: what the encoder reads, what the decoder reads, what it should have written.
struct Batch {
  std::vector<Sequence> sources, targets;
  std::vector<int> wanted;  // [target tokens]
};

Batch batch() {
  return {{{{3, 9, 4, 1}, {}, 0}, {{7, 5, 12, 20, 2, 1}, {}, 0}},
          {{{0, 8, 6}, {}, 0}, {{0, 11, 21, 8, 19}, {}, 0}},
          {8, 6, 1, 11, 21, 8, 19, 1}};
}

/// Nothing of the passes outlives this call but what the tape keeps.
Tensor loss_of(const Marian& model, const Batch& b) {
  const Result read = model.encode(b.sources);
  return cross_entropy(model.vocabulary_logits(model.decode(read, b.targets).hidden), b.wanted, {.smoothing = 0.1f});
}

std::map<std::string, Tensor> gradients_of(const Marian& model, const nn::Weights& weights, const Batch& b,
                                           std::uint64_t seed = 0) {
  Tape tape(seed);
  for (const auto& [name, tensor] : weights.trainable()) tape.watch(tensor);
  tape.backward(loss_of(model, b));
  std::map<std::string, Tensor> gradients;
  for (const auto& [name, tensor] : weights.trainable()) gradients[name] = tape.gradient(tensor);
  return gradients;
}

TEST(MarianTraining, GradientsReachEveryParameterAndAreSlopesOfTheLoss) {
  const MarianConfig config = small_marian();
  const plain::Store store = marian_store(config, 1);
  const plain::StoreSource source(store);
  const nn::Weights weights(source, nn::Purpose::Training);
  const Marian model(config, weights);
  EXPECT_EQ(weights.trainable().size(), 1u + 2 * 16 + 26) << "the shared table once, and no bias of the logits";
  EXPECT_EQ(weights.ledger().buffers.size(), 1u);
  Batch b = batch();
  b.sources[1].first_position = 7, b.targets[1].first_position = 3;
  const std::map<std::string, Tensor> gradients = gradients_of(model, weights, b);
  for (const auto& [name, parameter] : weights.trainable())
    // What a key's bias adds to all logits of a row alike, the softmax takes away.
    testing::expect_largest_slope(
        name, parameter, gradients.at(name), [&] { return double{*loss_of(model, b).values<float>().begin()}; },
        name.ends_with("k_proj.bias"));
}

/// Adam (Kingma & Ba 2014) as plainly as it can be written.
void adam_step(const nn::Weights& weights, const std::map<std::string, Tensor>& gradients,
               std::map<std::string, std::vector<double>>& state, int step) {
  constexpr double kRate = 0.01, kMean = 0.9, kSquare = 0.98;
  for (const auto& [name, parameter] : weights.trainable()) {
    Tensor t = parameter;
    std::vector<double>& s = state[name];  // [elements, 2]: means and means of squares
    s.resize(static_cast<std::size_t>(2 * t.elements()));
    for (std::size_t i = 0; i < s.size() / 2; ++i) {
      const double g = double{gradients.at(name).values<float>()[i]};
      s[2 * i] = kMean * s[2 * i] + (1 - kMean) * g;
      s[2 * i + 1] = kSquare * s[2 * i + 1] + (1 - kSquare) * g * g;
      const double mean = s[2 * i] / (1 - std::pow(kMean, step)), square = s[2 * i + 1] / (1 - std::pow(kSquare, step));
      t.values<float>()[i] -= static_cast<float>(kRate * mean / (std::sqrt(square) + 1e-9));
    }
  }
}

TEST(MarianTraining, OverfitsABatchAndThenWritesIt) {
  MarianConfig config = small_marian();
  config.dropout = 0.05f;
  const plain::Store store = marian_store(config, 2);
  const plain::StoreSource source(store);
  const nn::Weights weights(source, nn::Purpose::Training);
  const Marian model(config, weights);
  const Batch b = batch();
  const double before = double{loss_of(model, b).values<float>()[0]};
  std::map<std::string, std::vector<double>> state;
  for (int step = 1; step <= 80; ++step)
    adam_step(weights, gradients_of(model, weights, b, static_cast<std::uint64_t>(step)), state, step);
  EXPECT_GT(before, 2.5);
  // Smoothing by 0.1 over 23 words leaves a floor of 0.58.
  EXPECT_LT(double{loss_of(model, b).values<float>()[0]}, 0.7);
  runtime::Generation how;
  how.max_length = 10, how.ends = {1};
  const auto written = runtime::write(model, b.sources, how);
  EXPECT_EQ(written[0][0].ids, (std::vector<int>{0, 8, 6, 1}));
  EXPECT_EQ(written[1][0].ids, (std::vector<int>{0, 11, 21, 8, 19, 1}));
}

TEST(MarianTraining, DropoutFallsAsTheSeedSaysAndOnlyOnATape) {
  MarianConfig config = small_marian();
  config.dropout = config.activation_dropout = 0.3f;
  const plain::Store store = marian_store(config, 3);
  const plain::StoreSource source(store);
  const nn::Weights weights(source, nn::Purpose::Training);
  const Marian model(config, weights);
  const auto on_tape = [&](std::uint64_t seed) {
    Tape tape(seed);
    for (const auto& [name, tensor] : weights.trainable()) tape.watch(tensor);
    return double{loss_of(model, batch()).values<float>()[0]};
  };
  EXPECT_EQ(on_tape(5), on_tape(5));
  EXPECT_NE(on_tape(5), on_tape(6));
  const Marian plain_model(config, nn::Weights(source));
  EXPECT_NEAR(double{loss_of(model, batch()).values<float>()[0]},
              double{loss_of(plain_model, batch()).values<float>()[0]}, 1e-5);
}

// -------------------------------------------------------------------------------------------------------------- passes

struct Loaded {
  MarianConfig config = small_marian();
  plain::Store store = marian_store(config, 4);
  Marian model{config, nn::Weights(plain::StoreSource(store))};
};

TEST(Marian, PositionsMayBeginLaterWithinTheModels) {
  const Loaded l;
  Batch b = batch();
  const Tensor first = l.model.encode(b.sources).hidden;
  b.sources[0].first_position = 16;  // 4 tokens of 20 positions
  const Tensor later = l.model.encode(b.sources).hidden;
  EXPECT_NE(first.values<float>()[0], later.values<float>()[0]);
  EXPECT_EQ(first.values<float>()[4 * 16], later.values<float>()[4 * 16]) << "the other sequence is as it was";
  b.sources[0].first_position = 17;
  EXPECT_TRUE(refuses([&] { l.model.encode(b.sources); }, {"sequence 0", "position 17", "0 to 16"}));
}

TEST(Marian, EdgesOfEveryKindCanBeCut) {
  const Loaded l;
  const Batch b = batch();
  Pass pass;
  pass.record_attention = true;
  pass.mask = [](int) { return AnyMask(mask([](Site s) { return !(s.batch == 1 && s.query == 2 && s.key == 4); })); };
  const Result read = l.model.encode(b.sources, pass);
  EXPECT_EQ(read.layers[1].attention.weights({1, 0, 2})[4], 0.0f);
  EXPECT_GT(read.layers[1].attention.weights({1, 0, 3})[4], 0.0f);
  DecoderPass decoder;
  decoder.record_attention = true;
  decoder.mask = [](int) {
    return AnyMask(mask([](Site s) { return !(s.batch == 1 && s.query == 3 && s.key == 0); }));
  };
  decoder.cross_mask = [](int) {
    return AnyMask(mask([](Site s) { return !(s.batch == 0 && s.query == 1 && s.key == 2); }));
  };
  const Result written = l.model.decode(read, b.targets, decoder);
  const LayerRecord &self = written.layers[0], &cross = written.layers[1];
  EXPECT_EQ(self.kind, "decoder");
  EXPECT_EQ(self.attention.weights({1, 2, 3}).size(), 5u);
  EXPECT_EQ(self.attention.weights({1, 2, 3})[0], 0.0f);
  EXPECT_EQ(self.attention.weights({1, 2, 3})[4], 0.0f) << "what comes later stays hidden";
  EXPECT_GT(self.attention.weights({1, 2, 4})[0], 0.0f);
  EXPECT_EQ(cross.kind, "cross");
  EXPECT_EQ(*cross.ends, (std::vector<int>{3, 8}));
  EXPECT_EQ(*cross.key_ends, (std::vector<int>{4, 10}));
  EXPECT_EQ(cross.attention.weights({0, 3, 1})[2], 0.0f);
  EXPECT_GT(cross.attention.weights({0, 3, 2})[2], 0.0f);
}

TEST(Marian, ValuesOfTheSourceCanBeZeroed) {
  const Loaded l;
  const Batch b = batch();
  const Result read = l.model.encode(b.sources);
  DecoderPass pass;
  pass.record_attention = true;
  pass.cross_values = [](int, Tensor& v) { std::ranges::fill(v.values<float>(), 0.0f); };
  const Result written = l.model.decode(read, b.targets, pass);
  for (const float x : written.layers[1].attention.out.values<float>()) EXPECT_EQ(x, 0.0f);
}

TEST(Marian, WhatDoesNotFitIsNamed) {
  const Loaded l;
  const Batch b = batch();
  const Result read = l.model.encode(b.sources);
  EXPECT_TRUE(refuses([&] { l.model.decode(read, std::span(b.targets).first(1)); }, {"2 sources and 1 targets"}));
  const std::vector<Sequence> unknown{{{3, 23}, {}, 0}};
  EXPECT_TRUE(refuses([&] { l.model.encode(unknown); }, {"token id 23", "0 to 22"}));
  const std::unique_ptr<Decoding> decoding = l.model.begin(read);
  EXPECT_TRUE(refuses([&] { decoding->step(std::vector{0}); }, {"1 ids", "2 rows"}));
  EXPECT_TRUE(refuses([&] { decoding->select(std::vector{1, 0}); }, {"change order"}));
  for (int i = 0; i < 20; ++i) decoding->step(std::vector{0, 0});
  EXPECT_TRUE(refuses([&] { decoding->step(std::vector{0, 0}); }, {"20 positions", "max_length"}));
  // Sinusoids are not in the file, which could say how many positions are true.
  const nlohmann::json endless{
      {"model_type", "marian"}, {"d_model", 8}, {"vocab_size", 9}, {"max_position_embeddings", 1'000'000'000}};
  EXPECT_TRUE(
      refuses([&] { marian_config(endless, "config.json"); }, {"max_position_embeddings", "1000000000", "1048576"}));
  plain::Store broken = l.store;
  broken.tensors.erase("model.decoder.layers.0.encoder_attn.v_proj.bias");
  EXPECT_TRUE(refuses([&] { Marian(l.config, nn::Weights(plain::StoreSource(broken))); },
                      {"encoder_attn.v_proj.bias", "missing"}));
}

}  // namespace
}  // namespace fovea::models
