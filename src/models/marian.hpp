// Marian and BART: transformer encoder–decoders with a norm after each half of a layer, one vocabulary for both sides.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "models/config.hpp"
#include "models/encoder_decoder.hpp"
#include "nn/decoder_layer.hpp"
#include "nn/embedding.hpp"
#include "nn/encoder_layer.hpp"

namespace fovea::models {

/// Junczys-Dowmunt et al. 2018, arXiv 1804.00344; Lewis et al. 2019, arXiv 1910.13461.
class Marian final : public EncoderDecoder {
 public:
  /// Binds every layer to its tensors. Error naming the tensor that is missing or misshapen. With weights for training,
  /// passes under a tape are recorded down to every parameter, and drop out as config says.
  Marian(const MarianConfig& config, const nn::Weights& weights);

  const Summary& summary() const override { return summary_; }
  TargetTokens target_tokens() const override { return {config_.start, config_.end, config_.pad}; }
  Result encode(std::span<const Sequence> sources, const Pass& pass = {}) const override;
  Result decode(const Result& sources, std::span<const Sequence> targets, const DecoderPass& pass = {}) const override;
  Tensor vocabulary_logits(const Tensor& hidden) const override;
  std::unique_ptr<Decoding> begin(const Result& sources) const override;

 private:
  class Writing;  // marian_writing.cpp
  /// What stands before the layers of one half.
  struct Entrance {
    Tensor positions;    // F32 [positions + offset, width]
    nn::LayerNorm norm;  // BART's
  };

  Entrance load_entrance(const nn::Weights& weights) const;
  void load_output(const nn::Weights& weights);
  void summarize(const nn::Weights& weights);
  void check(std::span<const Sequence> sequences) const;
  Tensor embed(const Entrance& entrance, std::span<const int> ids, std::vector<int> positions) const;

  MarianConfig config_;
  nn::Purpose purpose_;
  nn::Embedding words_;
  Entrance encoder_entrance_, decoder_entrance_;
  std::vector<nn::EncoderLayer> encoder_;
  std::vector<nn::DecoderLayer> decoder_;
  Tensor output_weight_, output_bias_;  // [vocabulary, width] as stored, F32 [vocabulary]
  mutable std::once_flag once_;         // packed when it is first asked for: who only looks at the encoder never does
  mutable nn::Linear output_;
  Summary summary_;
};

/// A folder whose config.json has model_type "marian" or "bart".
std::unique_ptr<EncoderDecoder> load_marian(const std::filesystem::path& folder, const nlohmann::json& config);

}  // namespace fovea::models
