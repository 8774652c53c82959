#include "support/small_bert.hpp"

#include <cmath>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/safetensors_writer.hpp"

namespace plain {

void Folder::write(const std::string& name, const nlohmann::json& json) const { Scratch::write(name, json.dump(2)); }

void Folder::write(const std::string& name, const Store& store) const {
  std::filesystem::create_directories((path() / name).parent_path());
  std::vector<fovea::io::NamedTensor> tensors;
  for (const auto& [key, tensor] : store.tensors) tensors.push_back({key, tensor});
  fovea::io::write_safetensors(path() / name, tensors);
}

nlohmann::json config_of(const BertSize& s) {
  return {{"model_type", "bert"},          {"architectures", {"BertModel"}},
          {"hidden_size", s.width},        {"num_attention_heads", s.heads},
          {"num_hidden_layers", s.layers}, {"intermediate_size", s.feed_forward},
          {"vocab_size", s.vocabulary},    {"max_position_embeddings", s.positions},
          {"type_vocab_size", s.types},    {"layer_norm_eps", s.eps},
          {"hidden_act", "gelu"}};
}

Store bert_store(const BertSize& s, std::uint64_t seed) {
  Store store(seed);
  const std::string& p = s.prefix;
  store.add(p + "embeddings.word_embeddings.weight", {s.vocabulary, s.width}, 0, 1);
  store.add(p + "embeddings.position_embeddings.weight", {s.positions, s.width});
  if (s.types > 0) store.add(p + "embeddings.token_type_embeddings.weight", {s.types, s.width});
  store.add_norm(p + "embeddings.LayerNorm", s.width);
  for (int i = 0; i < s.layers; ++i) {
    const std::string layer = fmt::format("{}encoder.layer.{}.", p, i);
    for (const char* name : {"query", "key", "value"})
      store.add_linear(layer + "attention.self." + name, s.width, s.width);
    store.add_linear(layer + "attention.output.dense", s.width, s.width);
    store.add_norm(layer + "attention.output.LayerNorm", s.width);
    store.add_linear(layer + "intermediate.dense", s.width, s.feed_forward);
    store.add_linear(layer + "output.dense", s.feed_forward, s.width);
    store.add_norm(layer + "output.LayerNorm", s.width);
  }
  return store;
}

void add_masked_head(Store& store, const BertSize& s) {
  store.add_linear("cls.predictions.transform.dense", s.width, s.width);
  store.add_norm("cls.predictions.transform.LayerNorm", s.width);
  store.add("cls.predictions.bias", {s.vocabulary});
}

BertRun run_bert(const Store& store, const BertSize& s, const std::vector<int>& ids, std::vector<int> types,
                 const LayerVisible& visible, const std::function<double(double)>& activation, const LayerZero& zero,
                 const LayerEdit& edit) {
  const std::string& p = s.prefix;
  types.resize(ids.size(), 0);
  Matrix x(ids.size(), Row(static_cast<std::size_t>(s.width), 0.0));
  const auto add_row = [&](const std::string& table, std::size_t token, int id) {
    for (std::size_t c = 0; c < x[token].size(); ++c)
      x[token][c] +=
          store.at(p + "embeddings." + table + ".weight", static_cast<std::size_t>(id) * x[token].size() + c);
  };
  for (std::size_t t = 0; t < ids.size(); ++t) {
    add_row("word_embeddings", t, ids[t]);
    add_row("position_embeddings", t, static_cast<int>(t));
    if (s.types > 0) add_row("token_type_embeddings", t, types[t]);
  }
  x = layer_norm(store, p + "embeddings.LayerNorm", x, s.eps);
  BertRun run{{x}, {}};
  for (int i = 0; i < s.layers; ++i) {
    const std::string layer = fmt::format("{}encoder.layer.{}.", p, i), self = layer + "attention.self.";
    std::vector<Matrix> weights;
    Matrix values = linear(store, self + "value", x);
    const std::size_t head_dim = static_cast<std::size_t>(s.width / s.heads);
    for (std::size_t key = 0; zero && key < values.size(); ++key)
      for (std::size_t c = 0; c < values[key].size(); ++c)
        if (zero(i, static_cast<int>(c / head_dim), static_cast<int>(key))) values[key][c] = 0;
    Matrix attended = attention(
        linear(store, self + "query", x), linear(store, self + "key", x), values, s.heads, s.heads,
        [&](int h, int q, int k) { return !visible || visible(i, h, q, k); }, &weights);
    if (edit) edit(i, attended);
    const Matrix joined = sum(linear(store, layer + "attention.output.dense", attended), x);
    const Matrix h = layer_norm(store, layer + "attention.output.LayerNorm", joined, s.eps);
    const Matrix inner = map(linear(store, layer + "intermediate.dense", h), activation);
    x = layer_norm(store, layer + "output.LayerNorm", sum(linear(store, layer + "output.dense", inner), h), s.eps);
    run.hidden.push_back(x);
    run.weights.push_back(std::move(weights));
  }
  return run;
}

Matrix masked_logits(const Store& store, const BertSize& s, const Matrix& hidden) {
  const Matrix x = layer_norm(store, "cls.predictions.transform.LayerNorm",
                              map(linear(store, "cls.predictions.transform.dense", hidden), gelu), s.eps);
  Store decoder(0);
  const bool own = store.contains("cls.predictions.decoder.weight"),
             own_bias = store.contains("cls.predictions.decoder.bias");
  decoder.tensors["d.weight"] =
      store.tensors.at(own ? "cls.predictions.decoder.weight" : s.prefix + "embeddings.word_embeddings.weight");
  decoder.tensors["d.bias"] = store.tensors.at(own_bias ? "cls.predictions.decoder.bias" : "cls.predictions.bias");
  return linear(decoder, "d", x);
}

Matrix pooled(const Store& store, const BertSize& s, const Matrix& hidden) {
  return map(linear(store, s.prefix + "pooler.dense", {hidden[0]}), [](double x) { return std::tanh(x); });
}

}  // namespace plain
