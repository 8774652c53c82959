#include "models/bert.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "io/quote.hpp"
#include "models/checkpoint.hpp"

namespace fovea::models {
namespace {

constexpr nn::EncoderLayerNames kLayerNames{
    .attention = {{"attention.self.query"}, {"attention.self.key"}, {"attention.self.value"}, {"attention.output.dense"}},
    .attention_norm = "attention.output.LayerNorm",
    .feed_forward = {"intermediate.dense", "output.dense"},
    .feed_forward_norm = "output.LayerNorm",
};

/// Rows [rows, width] of hidden.
Tensor first_rows(const Result& result) {
  const std::int64_t width = result.hidden.shape()[1];
  Tensor rows(DType::F32, {static_cast<std::int64_t>(result.ends.size()), width});
  const float* from = result.hidden.data<float>();
  float* to = rows.data<float>();
  int begin = 0;
  for (const int end : result.ends) {
    std::copy_n(from + begin * width, width, to);
    to += width, begin = end;
  }
  return rows;
}

/// What a checkpoint may hold that no forward pass of an encoder reads: buffers, and the next-sentence head.
bool expected_leftover(std::string_view name) {
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
    : config_(config), where_(weights.where()) {
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
  const int stored = weights.numbered();
  if (stored < config_.layers) {
    throw Error(fmt::format("{}: config.json promises {} layers (num_hidden_layers) and the file holds {}; one of the two is wrong",
                            where_, config_.layers, stored));
  }
  const int head_dim = config_.width / config_.heads;
  const nn::EncoderLayerShape shape{
      .attention = {config_.width, config_.width, config_.heads, config_.heads, head_dim, head_dim},
      .feed_forward = config_.feed_forward,
      .activation = config_.activation,
      .eps = config_.eps,
      .order = nn::NormOrder::Post,
  };
  for (int i = 0; i < config_.layers; ++i) layers_.emplace_back(weights / i, kLayerNames, shape);
}

void Bert::load_heads(const nn::Weights& weights, const nn::Weights& base) {
  const std::int64_t width = config_.width, vocabulary = config_.vocabulary;
  if (const nn::Weights pooler = base / "pooler" / "dense"; pooler.contains("weight")) {
    pooler_ = nn::linear(pooler, width, width);
  }
  if (const nn::Weights cls = weights / "cls" / "predictions"; cls.contains("transform.dense.weight")) {
    masked_ = std::make_unique<MaskedHead>();
    masked_->transform = nn::linear(cls / "transform" / "dense", width, width);
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
    classifier_ = nn::linear(classifier, width, rows);
    if (!pooler_) pooler_ = nn::linear(base / "pooler" / "dense", width, width);  // says which tensor is missing
    labels_ = config_.labels;
    for (std::int64_t i = std::ssize(labels_); i < rows; ++i) labels_.push_back(fmt::format("LABEL_{}", i));
  }
}

void Bert::summarize(const nn::Weights& weights) {
  const nn::Ledger& ledger = weights.ledger();
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
              .parameters = ledger.total(),
              .weights_dtype = std::string(name_of(ledger.dtype())),
              .warnings = {}};
  if (!ledger.non_finite.empty()) {
    summary_.warnings.push_back(fmt::format("{}: {} of {} tensors hold NaN or infinity, first \"{}\"; what they touch will not be numbers",
                                            where_, ledger.non_finite.size(), ledger.used.size(), *ledger.non_finite.begin()));
  }
  std::vector<std::string> left = weights.unused();
  std::erase_if(left, expected_leftover);
  if (!left.empty()) {
    constexpr std::size_t kShown = 3;
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < std::min(left.size(), kShown); ++i) shown.push_back(io::in_quotes(left[i]));
    summary_.warnings.push_back(fmt::format("{}: {} tensors are no part of this model and were left out: {}{}", where_, left.size(),
                                            fmt::join(shown, ", "), left.size() > kShown ? ", …" : ""));
  }
}

// ------------------------------------------------------------------------------------------------------------------ running

void Bert::check(std::span<const Sequence> sequences) const {
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const auto& [ids, types] = sequences[i];
    if (ids.empty()) throw Error(fmt::format("sequence {} has no tokens; expected at least one", i));
    if (std::ssize(ids) > config_.positions) {
      throw Error(fmt::format("sequence {} has {} tokens and the model has {} positions; shorten the text or let it be truncated", i,
                              ids.size(), config_.positions));
    }
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
  std::vector<int> ids, types, places;  // [tokens] each
  for (const Sequence& s : sequences) {
    ids.insert(ids.end(), s.ids.begin(), s.ids.end());
    types.insert(types.end(), s.types.begin(), s.types.end());
    types.resize(ids.size(), 0);
    const std::size_t first = places.size();
    places.resize(ids.size());
    std::iota(places.begin() + static_cast<std::ptrdiff_t>(first), places.end(), 0);
  }
  Tensor x(DType::F32, {tokens, config_.width});
  words_.add_to(x, ids);
  if (types_.rows() > 0) types_.add_to(x, types);
  positions_.add_to(x, places);
  return embedding_norm_(x);
}

Tensor Bert::first_hidden(std::span<const Sequence> sequences, const Pass& pass, std::int64_t tokens) const {
  if (pass.first_layer < 0 || pass.first_layer > config_.layers) {
    throw Error(fmt::format("first_layer is {}; expected 0 to {}, the model's layers", pass.first_layer, config_.layers));
  }
  if (!pass.start) {
    if (pass.first_layer > 0) throw Error(fmt::format("first_layer is {} and there is no start to begin it from", pass.first_layer));
    return embed(sequences, tokens);
  }
  if (pass.start->dtype() != DType::F32 || !(pass.start->shape() == Shape{tokens, config_.width})) {
    throw Error(fmt::format("start is {}; expected F32 [{}, {}], the input of layer {}", pass.start->view().str(), tokens,
                            config_.width, pass.first_layer));
  }
  return *pass.start;
}

Result Bert::forward(std::span<const Sequence> sequences, const Pass& pass) const {
  check(sequences);
  Result result;
  const auto ends = std::make_shared<std::vector<int>>();
  for (const Sequence& s : sequences) ends->push_back((ends->empty() ? 0 : ends->back()) + static_cast<int>(s.ids.size()));
  result.ends = *ends;
  if (pass.record_hidden) result.hidden_states.resize(layers_.size() + 1);
  const auto keep = [&](std::size_t layer, const Tensor& x) {
    if (pass.record_hidden) result.hidden_states[layer] = x;
  };
  Tensor x = first_hidden(sequences, pass, ends->empty() ? 0 : ends->back());  // [tokens, width]
  keep(static_cast<std::size_t>(pass.first_layer), x);
  for (int i = pass.first_layer; i < config_.layers; ++i) {
    const nn::EncoderLayer& layer = layers_[static_cast<std::size_t>(i)];
    const AttentionSpec spec(packed(*ends), pass.mask ? pass.mask(i) : AnyMask());
    nn::AttentionTrace trace;
    nn::ValueEdit edit;
    if (pass.values) edit = [&pass, i](Tensor& v) { pass.values(i, v); };
    x = layer(x, spec, pass.record_attention ? &trace : nullptr, edit);
    keep(static_cast<std::size_t>(i) + 1, x);
    if (pass.record_attention) {
      result.layers.push_back({"encoder", i, trace.q, trace.k, trace.v, std::move(trace.attention),
                               layer.attention().output_weight(), ends});
    }
  }
  result.hidden = x;
  return result;
}

// -------------------------------------------------------------------------------------------------------------------- heads

void Bert::no_head(const char* head, const char* tensor) const {
  throw Error(fmt::format("{}: this model has no {} (architecture {}; no tensor \"{}\"); use a folder that has one", where_, head,
                          config_.architecture.empty() ? "not named" : config_.architecture, tensor));
}

Tensor Bert::vocabulary_logits(const Tensor& hidden) const {
  if (!masked_) no_head("masked-language head", "cls.predictions.transform.dense.weight");
  const Tensor x = activate(masked_->transform(hidden), config_.activation);  // [rows, width]
  std::call_once(masked_->once, [&] { masked_->decoder = PackedLinear(masked_->weight, masked_->bias); });
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
