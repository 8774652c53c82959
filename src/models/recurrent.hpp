// The recurrent encoder–decoder in which attention was introduced, and the one before it, which had none.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "models/encoder_decoder.hpp"
#include "nn/embedding.hpp"
#include "nn/linear.hpp"
#include "nn/recurrent.hpp"

namespace fovea::models {

struct TimeFirst;

/// config.json of model_type "fovea_recurrent".
struct RecurrentConfig {
  std::string architecture;
  bool attention = true;  // "attention": "additive" or "none"
  int vocabulary = 0, positions = 0;
  int width = 0;  // of word vectors, of annotations (half of it for each direction), of the decoder's state. Even
  int start = 0, end = 0, pad = 0;
  float dropout = 0;  // in training: of word vectors and of what predicts
};
RecurrentConfig recurrent_config(const nlohmann::json& config, const std::filesystem::path& file);

/// Bahdanau et al. 2014, arXiv 1409.0473: a bidirectional GRU makes an annotation h_j of each source word; a GRU
/// writes, s_i = GRU(s_{i−1}, [y_{i−1}; c_i]), where the context c_i is the mean of annotations weighted by the softmax
/// over j of v · tanh(W s_{i−1} + U h_j). Without attention c is one vector for all steps, the two directions' last
/// states (Cho et al. 2014, 1406.1078; Sutskever et al. 2014, 1409.3215): the bottleneck that attention removed. In
/// both, s_0 is tanh of a linear layer on that vector, and y_i is predicted from tanh(A s_i + B c_i + C y_{i−1} + b)
/// against the word vectors themselves (Press & Wolf 2017, 1608.05859).
class Recurrent final : public EncoderDecoder {
 public:
  Recurrent(const RecurrentConfig& config, const nn::Weights& weights);

  const Summary& summary() const override { return summary_; }
  TargetTokens target_tokens() const override { return {config_.start, config_.end, config_.pad}; }
  bool edits_heads() const override { return false; }
  /// Hidden rows are annotations. There is no attention among them, so that masks and values have nothing to change.
  Result encode(std::span<const Sequence> sources, const Pass& pass = {}) const override;
  /// Records of kind "cross" hold the additive attention's weights and values; see record() in recurrent.cpp.
  Result decode(const Result& sources, std::span<const Sequence> targets, const DecoderPass& pass = {}) const override;
  Tensor vocabulary_logits(const Tensor& hidden) const override;
  std::unique_ptr<Decoding> begin(const Result& sources) const override;

 private:
  class Writing;  // recurrent_writing.cpp
  /// What the decoder reads of its sources, one column a row that is written.
  struct Memory {
    Tensor keys, values;       // with attention: [source time, rows, width], U h and h
    std::vector<int> lengths;  // [rows]
    Tensor fixed;              // [rows, width]: the last states of both directions
  };
  /// One step's parts for a whole pass: in training, what a weight needs is done once for all steps.
  struct Step {
    std::function<Tensor(const Tensor&)> query, from_context, from_state;
  };
  struct Stepped {
    Tensor state, context, weights;  // [rows, width] twice, [rows, 1, source time]
  };

  struct Steps {
    Tensor states, contexts;      // [time · batch, width]
    std::vector<Tensor> weights;  // with attention: [time] of [batch, 1, source time]
  };

  void check(std::span<const Sequence> sequences) const;
  Tensor embed(std::span<const int> ids) const;
  Tensor last_states(const Result& sources) const;
  Memory memory(const Result& sources, const std::function<void(Tensor&)>& edit = {}) const;
  Step step_parts() const { return {query_.repeated(), from_context_.repeated(), from_state_.repeated()}; }
  Stepped step(const Step& parts, const Memory& memory, const Tensor& from_word, const Tensor& state,
               std::span<const std::uint8_t> hidden = {}) const;
  Steps all_steps(const Memory& memory, const Tensor& from_word, const TimeFirst& targets,
                  const std::function<std::vector<std::uint8_t>(int step)>& hidden) const;
  Tensor readout(const Tensor& state, const Tensor& context, const Tensor& word) const;

  RecurrentConfig config_;
  nn::Purpose purpose_;
  nn::Embedding words_;
  nn::BidirectionalGru encoder_;
  nn::Linear initial_;                                // of the last states: s_0 before its tanh
  nn::Linear query_, key_;                            // W and U
  Tensor direction_;                                  // v [width]
  nn::Linear from_word_, from_context_, from_state_;  // the decoder's gates, [3 · width] each, r, z, n
  Tensor state_weight_, state_bias_;                  // the parameters of from_state_, for whole sequences
  nn::Linear state_out_, context_out_, word_out_;     // A and b, B, C
  Tensor context_weight_;                             // B [width, width]
  Tensor output_bias_;                                // [vocabulary]
  mutable std::once_flag once_;
  mutable nn::Linear output_;
  Summary summary_;
};

std::unique_ptr<EncoderDecoder> load_recurrent(const std::filesystem::path& folder, const nlohmann::json& config);

}  // namespace fovea::models
