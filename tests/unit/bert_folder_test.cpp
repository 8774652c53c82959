// What is said of a BERT's folder: what it holds, what of it does not hold together, and input that does not fit it.
#include <cmath>
#include <limits>
#include <sys/resource.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/errors.hpp"
#include "support/loaded_bert.hpp"

namespace fovea::models {
namespace {

using nlohmann::json;
using plain::BertSize;
using plain::Folder;
using plain::kIds;
using plain::loaded;
using plain::Store;
using testing::refuses;

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
  const auto peak = [] {
    rusage use{};
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss;  // KiB
  };
  const long before = peak();
  for (const Lie& lie : lies) {
    json config = plain::config_of(size);
    config[lie.key] = lie.value;
    EXPECT_TRUE(refuses([&] { loaded(store, config); }, lie.says)) << lie.key << " = " << lie.value.dump();
  }
  EXPECT_LT(peak() - before, 64 << 10) << "no lie is believed far enough to take memory for it";
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
  EXPECT_EQ(families(), (std::vector<std::string>{"bert", "marian", "bart", "fovea_recurrent"}));
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
