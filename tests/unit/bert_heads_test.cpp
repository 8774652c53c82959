// BERT's heads against plain double precision: masked-language, pooler, classification; and what is said where there is
// none.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/errors.hpp"
#include "support/loaded_bert.hpp"

namespace fovea::models {
namespace {

using nlohmann::json;
using plain::BertSize;
using plain::kIds;
using plain::kTypes;
using plain::loaded;
using plain::Matrix;
using plain::mixed_batch;
using plain::Store;
using testing::refuses;

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

}  // namespace
}  // namespace fovea::models
