// BERT from a folder on disk, against plain double precision; and what is said of folders that do not hold together.
#include "models/bert.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/threads.hpp>

#include "support/errors.hpp"
#include "support/small_bert.hpp"

namespace fovea::models {
namespace {

using nlohmann::json;
using plain::BertSize;
using plain::Folder;
using plain::Matrix;
using plain::Store;
using testing::refuses;

std::unique_ptr<Encoder> loaded(const Store& store, const json& config) {
  const Folder folder;
  folder.write("config.json", config);
  folder.write("model.safetensors", store);
  return load_encoder(folder.path());
}

const std::vector<int> kIds{2, 17, 30, 5, 5, 0, 11, 3}, kTypes{0, 0, 0, 1, 1, 1, 1, 1};

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

std::vector<Sequence> mixed_batch() {
  return {{kIds, kTypes},
          {{9}, {}},
          {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, {}},
          {{30, 29}, {1, 0}}};
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

// --------------------------------------------------------------------------------------------------------------------
// heads

TEST(Bert, MaskedLanguageHeadTiedAndNot) {
  const BertSize size;
  const std::vector<Sequence> batch{{kIds, kTypes}};
  for (const bool own : {false, true})
    for (const bool decoder_bias : {false, true}) {
      Store store = plain::bert_store(size, 12);
      plain::add_masked_head(store, size);
      if (own) store.add("cls.predictions.decoder.weight", {size.vocabulary, size.width});
      if (decoder_bias) {
        store.add("cls.predictions.decoder.bias", {size.vocabulary});
        if (own) store.tensors.erase("cls.predictions.bias");
      }
      json config = plain::config_of(size);
      config["tie_word_embeddings"] = !own;
      const auto model = loaded(store, config);
      const Tensor logits = model->vocabulary_logits(model->forward(batch).hidden);
      ASSERT_EQ(logits.shape(), (Shape{8, 31}));
      const Matrix expected =
          plain::masked_logits(store, size, plain::run_bert(store, size, kIds, kTypes).hidden.back());
      EXPECT_LT(plain::worst(expected, logits), 5e-5) << "own decoder " << own << ", own bias " << decoder_bias;
      EXPECT_TRUE(model->summary().warnings.empty());
    }
}

TEST(Bert, AnUntiedHeadWithoutADecoderIsRefused) {
  const BertSize size;
  Store store = plain::bert_store(size, 13);
  plain::add_masked_head(store, size);
  json config = plain::config_of(size);
  config["tie_word_embeddings"] = false;
  EXPECT_TRUE(refuses([&] { loaded(store, config); }, {"\"cls.predictions.decoder.weight\" is missing", "[31, 24]"}));
}

Store classifier_store(const BertSize& size, int labels) {
  Store store = plain::bert_store(size, 14);
  store.add_linear("bert.pooler.dense", size.width, size.width);
  store.add_linear("classifier", size.width, labels);
  return store;
}

TEST(Bert, PoolerAndClassificationHead) {
  const BertSize size;
  const Store store = classifier_store(size, 3);
  json config = plain::config_of(size);
  config["architectures"] = {"BertForSequenceClassification"};
  const auto unnamed = loaded(store, config);
  EXPECT_EQ(unnamed->labels(), (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
  config["id2label"] = {{"0", "bad"}, {"1", "so so"}, {"2", "good"}};
  const auto model = loaded(store, config);
  EXPECT_EQ(model->labels(), (std::vector<std::string>{"bad", "so so", "good"}));
  const std::vector<Sequence> batch = mixed_batch();
  const Result result = model->forward(batch);
  const Tensor pooled = model->pooled(result), logits = model->class_logits(result);
  ASSERT_EQ(logits.shape(), (Shape{4, 3}));
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Matrix expected =
        plain::pooled(store, size, plain::run_bert(store, size, batch[i].ids, batch[i].types).hidden.back());
    EXPECT_LT(plain::worst(expected, pooled, i), 1e-5);
    EXPECT_LT(plain::worst(plain::linear(store, "classifier", expected), logits, i), 2e-5);
  }
}

TEST(Bert, LabelsAndClassifierMustAgree) {
  const BertSize size;
  json config = plain::config_of(size);
  config["id2label"] = {{"0", "no"}, {"1", "yes"}};
  EXPECT_TRUE(refuses([&] { loaded(classifier_store(size, 3), config); }, {"classifier.weight", "3 rows", "2 labels"}));
  config["id2label"] = {{"0", "no"}, {"2", "yes"}};
  EXPECT_TRUE(refuses([&] { loaded(classifier_store(size, 2), config); }, {"config.json", "id2label"}));
}

TEST(Bert, AClassifierOfTokensIsNotOneOfSequences) {
  const BertSize size;
  json config = plain::config_of(size);
  config["architectures"] = {"BertForTokenClassification"};
  const auto model = loaded(classifier_store(size, 3), config);
  const Result result = model->forward(std::vector<Sequence>{{kIds, {}}});
  EXPECT_TRUE(
      refuses([&] { model->class_logits(result); }, {"sequence-classification head", "BertForTokenClassification"}));
  ASSERT_EQ(model->summary().warnings.size(), 1u);
  EXPECT_NE(model->summary().warnings[0].find("classifier.bias"), std::string::npos);
}

TEST(Bert, HeadsThatTheFolderLacksAreNamed) {
  const BertSize size;
  const auto model = loaded(plain::bert_store(size, 15), plain::config_of(size));
  const Result result = model->forward(std::vector<Sequence>{{kIds, {}}});
  EXPECT_TRUE(refuses([&] { model->vocabulary_logits(result.hidden); },
                      {"masked-language head", "BertModel", "cls.predictions"}));
  EXPECT_TRUE(refuses([&] { model->class_logits(result); }, {"sequence-classification head", "classifier.weight"}));
  EXPECT_TRUE(refuses([&] { model->pooled(result); }, {"pooler", "pooler.dense.weight"}));
  EXPECT_TRUE(model->labels().empty());
}

// ------------------------------------------------------------------------------------------------------------- what is
// refused

TEST(Bert, InputThatDoesNotFitTheModelIsNamed) {
  const BertSize size;
  const auto model = loaded(plain::bert_store(size, 16), plain::config_of(size));
  const auto run = [&](Sequence s) { return [&model, s] { model->forward(std::vector<Sequence>{{{1}, {}}, s}); }; };
  EXPECT_TRUE(refuses(run({std::vector<int>(20, 1), {}}), {"sequence 1", "20 tokens", "19 positions"}));
  EXPECT_TRUE(refuses(run({{3, 31}, {}}), {"sequence 1", "token id 31 at position 1", "0 to 30"}));
  EXPECT_TRUE(refuses(run({{-1}, {}}), {"token id -1"}));
  EXPECT_TRUE(refuses(run({{3, 4}, {0, 2}}), {"sequence 1", "token type 2 at position 1", "0 to 1"}));
  EXPECT_TRUE(refuses(run({{3, 4}, {0}}), {"2 tokens and 1 token types"}));
  EXPECT_TRUE(refuses(run({{}, {}}), {"sequence 1 has no tokens"}));
}

TEST(Bert, AConfigThatLiesIsRefusedWithOneLine) {
  const BertSize size;
  const Store store = plain::bert_store(size, 17);
  struct Lie {
    const char* key;
    json value;
    std::vector<std::string_view> says;
  };
  const std::vector<Lie> lies{
      {"num_attention_heads", 0, {"num_attention_heads", "0"}},
      {"num_attention_heads", -3, {"num_attention_heads", "-3"}},
      {"num_attention_heads", 5, {"hidden_size", "24", "num_attention_heads", "5"}},
      {"num_attention_heads", "3", {"num_attention_heads"}},
      {"num_attention_heads", 3.5, {"num_attention_heads"}},
      {"num_hidden_layers", 1000000000, {"1000000000 layers", "2"}},
      {"num_hidden_layers", 3, {"3 layers", "2"}},
      {"num_hidden_layers", -1, {"num_hidden_layers"}},
      {"hidden_size", 0, {"hidden_size"}},
      {"hidden_size", 1e18, {"hidden_size"}},
      {"hidden_size", 1000000000000000000, {"hidden_size"}},
      {"hidden_size", 48, {"[31, 24]", "[31, 48]"}},
      {"vocab_size", 32, {"word_embeddings", "[31, 24]", "[32, 24]"}},
      {"vocab_size", 0, {"vocab_size"}},
      {"max_position_embeddings", 1000000000, {"position_embeddings", "[19, 24]", "[1000000000, 24]"}},
      {"intermediate_size", 36, {"intermediate.dense", "[37, 24]", "[36, 24]"}},
      {"type_vocab_size", 3, {"token_type_embeddings", "[2, 24]", "[3, 24]"}},
      {"layer_norm_eps", -1e-12, {"layer_norm_eps", "-1e-12"}},
      {"layer_norm_eps", "small", {"layer_norm_eps"}},
      {"hidden_act", "snake", {"hidden_act", "snake", "gelu"}},
      {"hidden_act", 7, {"hidden_act"}},
      {"position_embedding_type", "relative_key", {"position_embedding_type", "relative_key", "absolute"}},
      {"is_decoder", true, {"is_decoder"}},
      {"id2label", {{"0", "a"}, {"x", "b"}}, {"id2label"}},
      {"id2label", 3, {"id2label"}},
  };
  for (const Lie& lie : lies) {
    json config = plain::config_of(size);
    config[lie.key] = lie.value;
    EXPECT_TRUE(refuses([&] { loaded(store, config); }, lie.says)) << lie.key << " = " << lie.value.dump();
  }
  for (const char* key :
       {"hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "vocab_size"}) {
    json config = plain::config_of(size);
    config.erase(key);
    EXPECT_TRUE(refuses([&] { loaded(store, config); }, {"config.json", key})) << key;
  }
}

TEST(Bert, ATensorThatIsMissingOrMisshapenIsNamed) {
  const BertSize size;
  const Store whole = plain::bert_store(size, 18);
  for (const auto& [name, tensor] : whole.tensors) {
    Store store(0);
    store.tensors = whole.tensors;
    store.tensors.erase(name);
    const bool prefixless = name == "bert.embeddings.word_embeddings.weight";  // what the prefix is told by
    EXPECT_TRUE(refuses([&] { loaded(store, plain::config_of(size)); },
                        {prefixless ? "embeddings.word_embeddings.weight" : name, "model.safetensors", "missing"}));
    Shape longer = tensor.shape();
    longer[0] += 1;
    store.tensors[name] = Tensor(DType::F32, longer);
    EXPECT_TRUE(refuses([&] { loaded(store, plain::config_of(size)); }, {name, longer.str(), tensor.shape().str()}));
  }
}

TEST(Bert, FoldersThatAreNoModelAreRefused) {
  const BertSize size;
  const Folder folder;
  EXPECT_TRUE(refuses([&] { load_encoder(folder.path() / "nowhere"); }, {"nowhere"}));
  EXPECT_TRUE(refuses([&] { load_encoder(folder.path()); }, {"config.json"}));
  json config = plain::config_of(size);
  config["model_type"] = "llama";
  folder.write("config.json", config);
  EXPECT_TRUE(refuses([&] { load_encoder(folder.path()); }, {"llama", "bert"}));
  config.erase("model_type");
  folder.write("config.json", config);
  EXPECT_TRUE(refuses([&] { load_encoder(folder.path()); }, {"config.json", "model_type"}));
  folder.write("config.json", json::array({1, 2}));
  EXPECT_TRUE(refuses([&] { load_encoder(folder.path()); }, {"config.json", "object"}));
  folder.write("config.json", std::string("{\"model_type\": "));
  EXPECT_TRUE(refuses([&] { load_encoder(folder.path()); }, {"config.json"}));
  folder.write("config.json", plain::config_of(size));
  EXPECT_TRUE(refuses([&] { load_encoder(folder.path()); }, {"model.safetensors"}));
  EXPECT_EQ(families(), (std::vector<std::string>{"bert", "marian", "bart"}));
}

// ------------------------------------------------------------------------------------------------------- what a folder
// holds

TEST(Bert, TheSummaryIsOfWhatWasLoaded) {
  const BertSize size;
  Store store = plain::bert_store(size, 19);
  std::int64_t parameters = 0;
  for (const auto& [name, tensor] : store.tensors) parameters += tensor.elements();
  store.tensors["bert.embeddings.position_ids"] = Tensor(DType::I64, {1, 19});
  store.add_linear("cls.seq_relationship", 24, 2);
  const Summary s = loaded(store, plain::config_of(size))->summary();
  EXPECT_EQ(s.family, "bert");
  EXPECT_EQ(s.architecture, "BertModel");
  EXPECT_EQ(
      (std::vector<int>{s.layers, s.heads, s.kv_heads, s.head_dim, s.width, s.feed_forward, s.positions, s.vocabulary}),
      (std::vector<int>{2, 3, 3, 8, 24, 37, 19, 31}));
  EXPECT_EQ(s.parameters, parameters);
  EXPECT_EQ(s.weights_dtype, "F32");
  EXPECT_TRUE(s.warnings.empty());
}

TEST(Bert, NonFiniteWeightsAndLeftoversAreWarnedOf) {
  const BertSize size;
  Store store = plain::bert_store(size, 20);
  store.tensors["bert.encoder.layer.1.output.dense.weight"].values<float>()[5] =
      std::numeric_limits<float>::quiet_NaN();
  store.add_linear("qa_outputs", 24, 2);
  const auto model = loaded(store, plain::config_of(size));
  const std::vector<std::string>& warnings = model->summary().warnings;
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_NE(warnings[0].find("bert.encoder.layer.1.output.dense.weight"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[1].find("2 tensors"), std::string::npos) << warnings[1];
  EXPECT_NE(warnings[1].find("qa_outputs.bias"), std::string::npos) << warnings[1];
  // A NaN that is visible is not swallowed.
  const Result result = model->forward(std::vector<Sequence>{{kIds, {}}});
  EXPECT_TRUE(std::isnan(result.hidden.values<float>()[0]));
}

}  // namespace
}  // namespace fovea::models
