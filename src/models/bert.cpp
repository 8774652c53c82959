#include "models/bert.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "models/checkpoint.hpp"
#include "models/common.hpp"
#include "models/stack.hpp"
#include "ops/embedding.hpp"

namespace fovea::models {
namespace {

constexpr nn::EncoderLayerNames kLayerNames{
    .attention = {{"attention.self.query"}, {"attention.self.key"}, {"attention.self.value"}, {"attention.output.dense"}},
    .attention_norm = "attention.output.LayerNorm",
    .feed_forward = {"intermediate.dense", "output.dense"},
    .feed_forward_norm = "output.LayerNorm",
};

/// The first row of each sequence, [sequences, width].
Tensor first_rows(const Result& result) {
  std::vector<int> firsts;
  for (int begin = 0; const int end : result.ends) firsts.push_back(std::exchange(begin, end));
  return embedding(result.hidden, firsts);
}

/// What a checkpoint may hold that no forward pass of an encoder reads: buffers, and the next-sentence head.
bool left_by_bert(std::string_view name) {
  return name.ends_with("embeddings.position_ids") || name.ends_with("embeddings.token_type_ids") ||
         name.starts_with("cls.seq_relationship.") || name == "cls.predictions.bias";
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------------ loading

std::unique_ptr<Encoder> load_bert(const std::filesystem::path& folder, const nlohmann::json& config) {
  const BertConfig checked = bert_config(config, folder / "config.json");
  const Checkpoint checkpoint(folder);
  return std::make_unique<Bert>(checked, nn::Weights(checkpoint));
}

Bert::Bert(const BertConfig& config, const nn::Weights& weights)
    : config_(config), where_(weights.where()), purpose_(weights.purpose()) {
  const nn::Weights base = weights / (weights.contains("bert.embeddings.word_embeddings.weight") ? "bert" : "");
  load_embeddings(base / "embeddings");
  load_layers(base / "encoder" / "layer");
  load_heads(weights, base);
  summarize(weights);
}

void Bert::load_embeddings(const nn::Weights& weights) {
  words_ = {weights / "word_embeddings", config_.vocabulary, config_.width};
  positions_ = {weights / "position_embeddings", config_.positions, config_.width};
  if (config_.types > 0) types_ = {weights / "token_type_embeddings", config_.types, config_.width};
  embedding_norm_ = {weights / "LayerNorm", config_.width, config_.eps};
}

void Bert::load_layers(const nn::Weights& weights) {
  check_layers(weights, config_.layers, "num_hidden_layers");
  const int head_dim = config_.width / config_.heads;
  nn::EncoderLayerShape shape{
      .attention = {config_.width, config_.width, config_.heads, config_.heads, head_dim, head_dim},
      .feed_forward = config_.feed_forward,
      .activation = config_.activation,
      .eps = config_.eps,
      .order = nn::NormOrder::Post,
  };
  for (int i = 0; i < config_.layers; ++i) {
    shape.attention.heads = shape.attention.kv_heads = config_.heads_of(i);
    layers_.emplace_back(weights / i, kLayerNames, shape);
  }
}

void Bert::load_heads(const nn::Weights& weights, const nn::Weights& base) {
  const std::int64_t width = config_.width, vocabulary = config_.vocabulary;
  if (const nn::Weights pooler = base / "pooler" / "dense"; pooler.contains("weight")) {
    pooler_.emplace(pooler, width, width);
  }
  if (const nn::Weights cls = weights / "cls" / "predictions"; cls.contains("transform.dense.weight")) {
    masked_ = std::make_unique<MaskedHead>();
    masked_->transform = nn::Linear(cls / "transform" / "dense", width, width);
    masked_->norm = {cls / "transform" / "LayerNorm", width, config_.eps};
    // What is stored for the decoder wins over what it could be tied to, as in transformers since version 5.
    const bool own = cls.contains("decoder.weight") || !config_.tied;
    masked_->weight = own ? cls.tensor("decoder.weight", {vocabulary, width}) : words_.table();
    masked_->bias = cls.f32(cls.contains("decoder.bias") ? "decoder.bias" : "bias", {vocabulary});
  }
  // Token classification and multiple choice call their heads `classifier` too, and mean something else by it.
  const bool other = config_.architecture == "BertForTokenClassification" || config_.architecture == "BertForMultipleChoice";
  if (const nn::Weights classifier = weights / "classifier"; classifier.contains("weight") && !other) {
    const std::int64_t rows = classifier.dimension("weight", 2, 0);
    if (!config_.labels.empty() && std::ssize(config_.labels) != rows) {
      throw Error(fmt::format("{}: tensor \"classifier.weight\" has {} rows and config.json names {} labels (id2label); expected as many",
                              where_, rows, config_.labels.size()));
    }
    classifier_.emplace(classifier, width, rows);
    if (!pooler_) pooler_.emplace(base / "pooler" / "dense", width, width);  // says which tensor is missing
    labels_ = config_.labels;
    for (std::int64_t i = std::ssize(labels_); i < rows; ++i) labels_.push_back(fmt::format("LABEL_{}", i));
  }
}

void Bert::summarize(const nn::Weights& weights) {
  int pruned = 0;
  for (const auto& [layer, heads] : config_.pruned) pruned += heads;
  summary_ = {.family = "bert",
              .architecture = config_.architecture,
              .layers = config_.layers,
              .heads = config_.heads,
              .kv_heads = config_.heads,
              .head_dim = config_.width / config_.heads,
              .width = config_.width,
              .feed_forward = config_.feed_forward,
              .positions = config_.positions,
              .vocabulary = config_.vocabulary,
              .pruned_heads = pruned,
              .weights_dtype = {},
              .warnings = {}};
  describe_weights(summary_, weights, left_by_bert);
}

// ------------------------------------------------------------------------------------------------------------------ running

void Bert::check(std::span<const Sequence> sequences) const {
  check_lengths(sequences, config_.positions);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<int>&ids = sequences[i].ids, &types = sequences[i].types;
    if (!types.empty() && types.size() != ids.size()) {
      throw Error(fmt::format("sequence {} has {} tokens and {} token types; expected one each, or none", i, ids.size(), types.size()));
    }
    words_.check(ids, fmt::format("sequence {}: token id", i));
    // A model without token types has the one type 0, and adds nothing for it.
    if (types_.rows() > 0) types_.check(types, fmt::format("sequence {}: token type", i));
    else if (std::ranges::any_of(types, [](int t) { return t != 0; }))
      throw Error(fmt::format("sequence {} has token types and the model has none (type_vocab_size is 0)", i));
  }
}

Tensor Bert::embed(std::span<const Sequence> sequences, std::int64_t tokens) const {
  std::vector<int> types;  // [tokens]
  for (std::size_t end = 0; const Sequence& s : sequences) {
    types.insert(types.end(), s.types.begin(), s.types.end());
    types.resize(end += s.ids.size(), 0);
  }
  Tensor x(DType::F32, {tokens, config_.width});
  x = words_.add_to(std::move(x), packed_ids(sequences));
  if (types_.rows() > 0) x = types_.add_to(std::move(x), types);
  x = positions_.add_to(std::move(x), packed_positions(sequences));
  return embedding_norm_(x);
}

Result Bert::forward(std::span<const Sequence> sequences, const Pass& pass) const {
  check(sequences);
  return run_encoder(layers_, config_.width, sequences, pass,
                     [&](std::int64_t tokens) { return embed(sequences, tokens); });
}

// -------------------------------------------------------------------------------------------------------------------- heads

void Bert::no_head(const char* head, const char* tensor) const {
  throw Error(fmt::format("{}: this model has no {} (architecture {}; no tensor \"{}\"); use a folder that has one", where_, head,
                          config_.architecture.empty() ? "not named" : config_.architecture, tensor));
}

Tensor Bert::vocabulary_logits(const Tensor& hidden) const {
  if (!masked_) no_head("masked-language head", "cls.predictions.transform.dense.weight");
  const Tensor x = activate(masked_->transform(hidden), config_.activation);  // [rows, width]
  std::call_once(masked_->once, [&] { masked_->decoder = {masked_->weight, masked_->bias, purpose_}; });
  return masked_->decoder(masked_->norm(x));
}

Tensor Bert::pooled(const Result& result) const {
  if (!pooler_) no_head("pooler", "pooler.dense.weight");
  return activate((*pooler_)(first_rows(result)), Activation::Tanh);  // [sequences, width]
}

Tensor Bert::class_logits(const Result& result) const {
  if (!classifier_) no_head("sequence-classification head", "classifier.weight");
  return (*classifier_)(pooled(result));
}

}  // namespace fovea::models
