// BERT from a folder on disk, against plain double precision: hidden states, weights, batches, cut edges, records.
#include "models/bert.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/threads.hpp>

#include "support/errors.hpp"
#include "support/loaded_bert.hpp"

namespace fovea::models {
namespace {

using nlohmann::json;
using plain::BertSize;
using plain::kIds;
using plain::kTypes;
using plain::loaded;
using plain::mixed_batch;
using plain::Store;
using testing::refuses;

double worst_weight(const plain::BertRun& expected, const Result& found, int sequence = 0) {
  double worst = 0;
  for (const LayerRecord& record : found.layers) {
    const auto& heads = expected.weights[static_cast<std::size_t>(record.layer)];
    for (std::size_t h = 0; h < heads.size(); ++h)
      for (std::size_t i = 0; i < heads[h].size(); ++i) {
        const std::vector<float> row = record.attention.weights({sequence, static_cast<int>(h), static_cast<int>(i)});
        for (std::size_t j = 0; j < row.size(); ++j) worst = std::max(worst, std::abs(double{row[j]} - heads[h][i][j]));
      }
  }
  return worst;
}

/// Hidden states and weights of one sequence against the plain model.
void expect_agreement(const Encoder& model, const Store& store, const BertSize& size, const std::vector<int>& types,
                      const std::function<double(double)>& activation = plain::gelu) {
  const plain::BertRun expected = plain::run_bert(store, size, kIds, types, {}, activation);
  const std::vector<Sequence> batch{{kIds, types}};
  Pass pass;
  pass.record_attention = pass.record_hidden = true;
  const Result found = model.forward(batch, pass);
  ASSERT_EQ(found.hidden_states.size(), expected.hidden.size());
  ASSERT_EQ(found.layers.size(), expected.weights.size());
  for (std::size_t i = 0; i < expected.hidden.size(); ++i)
    EXPECT_LT(plain::worst(expected.hidden[i], found.hidden_states[i]), 2e-5) << "hidden state " << i;
  EXPECT_EQ(plain::worst(plain::matrix(found.hidden_states.back()), found.hidden), 0);
  EXPECT_LT(worst_weight(expected, found), 2e-6);
}

TEST(Bert, HiddenStatesAndWeightsAreThePlainModels) {
  for (const BertSize& size :
       {BertSize{}, BertSize{.width = 70, .heads = 7, .layers = 4, .feed_forward = 131, .prefix = ""},
        BertSize{.width = 5, .heads = 1, .layers = 1, .feed_forward = 3}}) {
    const Store store = plain::bert_store(size, 1);
    const auto model = loaded(store, plain::config_of(size));
    expect_agreement(*model, store, size, kTypes);
    expect_agreement(*model, store, size, {});  // no types: all are 0
  }
}

TEST(Bert, OldLayerNormNamesAndOtherActivations) {
  const BertSize size;
  Store store = plain::bert_store(size, 2);
  Store old(0);
  for (const auto& [name, tensor] : store.tensors) {
    std::string renamed = name;
    if (name.ends_with("LayerNorm.weight")) renamed = name.substr(0, name.size() - 6) + "gamma";
    if (name.ends_with("LayerNorm.bias")) renamed = name.substr(0, name.size() - 4) + "beta";
    old.tensors[renamed] = tensor;
  }
  json config = plain::config_of(size);
  config["hidden_act"] = "relu";
  expect_agreement(*loaded(old, config), old, size, kTypes, plain::relu);
}

TEST(Bert, TokenTypeTablesOfOneRowAndOfNone) {
  const BertSize one{.types = 1}, none{.types = 0};
  const Store with_one = plain::bert_store(one, 3), without = plain::bert_store(none, 3);
  const auto model = loaded(without, plain::config_of(none));
  expect_agreement(*loaded(with_one, plain::config_of(one)), with_one, one, {});
  expect_agreement(*model, without, none, {});
  const std::vector<Sequence> typed{{kIds, kTypes}};
  EXPECT_TRUE(refuses([&] { model->forward(typed); }, {"token types", "type_vocab_size"}));
}

TEST(Bert, SixteenBitCheckpointsAreWidenedExactly) {
  const BertSize size;
  const Store full = plain::bert_store(size, 4);
  for (const DType dtype : {DType::BF16, DType::F16}) {
    Store stored(0), widened(0);
    for (const auto& [name, tensor] : full.tensors) {
      stored.tensors[name] = tensor.to(dtype);
      widened.tensors[name] = stored.tensors[name].to(DType::F32);
    }
    const auto model = loaded(stored, plain::config_of(size));
    expect_agreement(*model, widened, size, kTypes);
    EXPECT_EQ(model->summary().weights_dtype, name_of(dtype));
  }
}

bool same_bits(const Tensor& a, const Tensor& b, std::int64_t b_first_row = 0) {
  const std::int64_t width = a.shape()[1];
  return std::equal(
      a.values<float>().begin(), a.values<float>().end(), b.values<float>().begin() + b_first_row * width,
      [](float x, float y) { return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y); });
}

TEST(Bert, ABatchIsBitwiseItsSequencesAloneForAnyThreads) {
  const BertSize size;
  const auto model = loaded(plain::bert_store(size, 5), plain::config_of(size));
  const std::vector<Sequence> batch = mixed_batch();
  const int before = threads();
  for (const int n : {1, 2, 3, 7}) {
    set_threads(n);
    const Result together = model->forward(batch);
    EXPECT_EQ(together.ends, (std::vector<int>{8, 9, 28, 30}));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      set_threads(1);
      const Result alone = model->forward(std::span(&batch[i], 1));
      EXPECT_TRUE(same_bits(alone.hidden, together.hidden, i == 0 ? 0 : together.ends[i - 1]))
          << "sequence " << i << ", threads " << n;
    }
  }
  set_threads(before);
}

TEST(Bert, NoSequencesGiveAnEmptyResult) {
  const BertSize size;
  const auto model = loaded(plain::bert_store(size, 6), plain::config_of(size));
  const Result none = model->forward({});
  EXPECT_TRUE(none.ends.empty());
  EXPECT_EQ(none.hidden.shape(), (Shape{0, 24}));
}

TEST(Bert, CutEdgesAreCutInTheirLayerHeadAndSequenceOnly) {
  const BertSize size;
  const Store store = plain::bert_store(size, 7);
  const auto model = loaded(store, plain::config_of(size));
  const std::vector<Sequence> batch = mixed_batch();
  const auto sees = [](int layer, int head, int query, int key) {
    return !(layer == 1 && head == 2 && query == 4 && key != 3);
  };
  Pass pass;
  pass.record_attention = true;
  std::vector<int> asked;
  pass.mask = [&](int layer) {
    asked.push_back(layer);
    return AnyMask(mask([=](Site s) { return s.batch != 2 || sees(layer, s.head, s.query, s.key); }));
  };
  const Result found = model->forward(batch, pass);
  EXPECT_EQ(asked, (std::vector<int>{0, 1}));
  const plain::BertRun cut = plain::run_bert(store, size, batch[2].ids, {}, sees);
  EXPECT_LT(plain::worst(cut.hidden.back(), found.hidden, 9), 2e-5);
  EXPECT_LT(worst_weight(cut, found, 2), 2e-6);
  EXPECT_EQ(found.layers[1].attention.weights({2, 2, 4})[7], 0.0f);
  EXPECT_NEAR(found.layers[1].attention.weights({2, 2, 4})[3], 1.0f, 1e-6);
  // Its neighbours in the batch are what they are without any mask.
  const Result uncut = model->forward(std::span(batch).first(2));
  EXPECT_TRUE(same_bits(uncut.hidden, found.hidden));
  EXPECT_GT(plain::worst(plain::run_bert(store, size, batch[2].ids).hidden.back(), found.hidden, 9), 1e-3);
}

TEST(Bert, StartingAtALayerIsBitwiseTheWholePass) {
  const BertSize size{.layers = 4};
  const auto model = loaded(plain::bert_store(size, 8), plain::config_of(size));
  const std::vector<Sequence> batch = mixed_batch();
  Pass whole;
  whole.record_hidden = whole.record_attention = true;
  const Result full = model->forward(batch, whole);
  for (int layer = 0; layer <= size.layers; ++layer) {
    Pass pass = whole;
    pass.first_layer = layer;
    pass.start = &full.hidden_states[static_cast<std::size_t>(layer)];
    const Tensor before = pass.start->clone();
    const Result resumed = model->forward(batch, pass);
    EXPECT_TRUE(same_bits(full.hidden, resumed.hidden)) << "from layer " << layer;
    EXPECT_TRUE(same_bits(before, *pass.start)) << "start was written to";
    ASSERT_EQ(resumed.layers.size(), static_cast<std::size_t>(size.layers - layer));
    for (const LayerRecord& record : resumed.layers) {
      const LayerRecord& same = full.layers[static_cast<std::size_t>(record.layer)];
      EXPECT_EQ(record.attention.weights({2, 1, 5}), same.attention.weights({2, 1, 5}));
    }
    for (int i = 0; i <= size.layers; ++i) {
      const Tensor& state = resumed.hidden_states[static_cast<std::size_t>(i)];
      EXPECT_EQ(state.empty(), i < layer);
      EXPECT_TRUE(state.empty() || same_bits(full.hidden_states[static_cast<std::size_t>(i)], state));
    }
  }
}

TEST(Bert, AStartThatDoesNotFitIsRefused) {
  const BertSize size;
  const auto model = loaded(plain::bert_store(size, 9), plain::config_of(size));
  const std::vector<Sequence> batch{{kIds, {}}};
  const Tensor wrong(DType::F32, {7, 24});
  const auto with = [&](int layer, const Tensor* start) {
    return [&model, &batch, layer, start] {
      Pass pass;
      pass.first_layer = layer, pass.start = start;
      model->forward(batch, pass);
    };
  };
  EXPECT_TRUE(refuses(with(1, &wrong), {"[7, 24]", "[8, 24]"}));
  EXPECT_TRUE(refuses(with(1, nullptr), {"first_layer is 1", "no start"}));
  EXPECT_TRUE(refuses(with(3, &wrong), {"first_layer is 3", "0 to 2"}));
  EXPECT_TRUE(refuses(with(-1, &wrong), {"first_layer is -1"}));
}

TEST(Bert, RecordsAnswerAfterTheirResultHasMoved) {
  const BertSize size;
  const auto model = loaded(plain::bert_store(size, 10), plain::config_of(size));
  const std::vector<Sequence> batch = mixed_batch();
  Pass pass;
  pass.record_attention = true;
  std::optional<Result> first = model->forward(batch, pass);
  const std::vector<float> row = first->layers[1].attention.weights({2, 0, 18});
  const Result copy = *first;
  first.reset();
  EXPECT_EQ(copy.layers[1].attention.weights({2, 0, 18}), row);
  EXPECT_EQ(copy.layers[1].q.shape(), (Shape{1, 30, 3, 8}));
  EXPECT_LT(copy.layers[1].attention.max_abs_error({2, 0, 18}), 1e-5);
}

TEST(Bert, RecordsHoldTheOutputWeightOfTheirLayer) {
  const BertSize size;
  const Store store = plain::bert_store(size, 11);
  const auto model = loaded(store, plain::config_of(size));
  Pass pass;
  pass.record_attention = true;
  const Result result = model->forward(std::vector<Sequence>{{kIds, {}}}, pass);
  for (int i = 0; i < size.layers; ++i) {
    const TensorView& w = result.layers[static_cast<std::size_t>(i)].output_weight;
    const Tensor& stored = store.tensors.at(fmt::format("bert.encoder.layer.{}.attention.output.dense.weight", i));
    ASSERT_EQ(w.dtype, DType::F32);
    ASSERT_EQ(w.shape, (Shape{24, 24}));
    EXPECT_TRUE(std::ranges::equal(stored.values<float>(), std::span(static_cast<const float*>(w.data), 24 * 24)));
  }
}

}  // namespace
}  // namespace fovea::models
