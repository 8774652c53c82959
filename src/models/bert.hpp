// BERT (Devlin et al. 2018, arXiv 1810.04805): any size, with whichever of its heads the checkpoint holds.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "models/config.hpp"
#include "models/encoder.hpp"
#include "nn/embedding.hpp"
#include "nn/encoder_layer.hpp"

namespace fovea::models {

class Bert final : public Encoder {
 public:
  /// Binds every layer to its tensors, below `bert.` or without that prefix. Error naming the tensor that is missing or misshapen.
  Bert(const BertConfig& config, const nn::Weights& weights);

  const Summary& summary() const override { return summary_; }
  Result forward(std::span<const Sequence> sequences, const Pass& pass = {}) const override;
  bool predicts_vocabulary() const override { return masked_ != nullptr; }
  Tensor vocabulary_logits(const Tensor& hidden) const override;
  Tensor class_logits(const Result& result) const override;
  const std::vector<std::string>& labels() const override { return labels_; }
  Tensor pooled(const Result& result) const override;

 private:
  /// cls.predictions: a transform, then the vocabulary's vectors (the embedding's own unless the file has others) and a bias.
  struct MaskedHead {
    nn::Linear transform;
    nn::LayerNorm norm;
    Tensor weight, bias;  // [vocabulary, width] as stored, F32 [vocabulary]
    // Packed when it is first asked for: most uses of a model never are, and for a small model it is most of the weights.
    mutable std::once_flag once;
    mutable nn::Linear decoder;
  };

  void load_embeddings(const nn::Weights& weights);
  void load_layers(const nn::Weights& weights);
  void load_heads(const nn::Weights& weights, const nn::Weights& base);
  void summarize(const nn::Weights& weights);
  void check(std::span<const Sequence> sequences) const;
  Tensor embed(std::span<const Sequence> sequences, std::int64_t tokens) const;
  [[noreturn]] void no_head(const char* head, const char* tensor) const;

  BertConfig config_;
  std::string where_;
  nn::Purpose purpose_;
  nn::Embedding words_, positions_, types_;
  nn::LayerNorm embedding_norm_;
  std::vector<nn::EncoderLayer> layers_;
  std::unique_ptr<MaskedHead> masked_;
  std::optional<nn::Linear> pooler_, classifier_;
  std::vector<std::string> labels_;
  Summary summary_;
};

/// A folder whose config.json has model_type "bert".
std::unique_ptr<Encoder> load_bert(const std::filesystem::path& folder, const nlohmann::json& config);

}  // namespace fovea::models
