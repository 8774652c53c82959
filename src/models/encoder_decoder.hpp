// What a model that reads one text and writes another offers to the layers above: both passes, to be recorded, edited
// and trained, and writing a token at a time.
#pragma once
#include <memory>
#include <span>

#include "models/encoder.hpp"

namespace fovea::models {

/// Pass of a decoder: its `mask`, `values`, `heads`, `start` and `first_layer` are of self-attention (over and above the causal
/// mask), what is added here of the attention to the source. Records of both kinds are kept, of each layer "decoder"
/// first.
struct DecoderPass : Pass {
  std::function<AnyMask(int layer)> cross_mask;            // queries are target tokens, keys are source tokens
  std::function<void(int layer, Tensor& v)> cross_values;  // v F32 [1, source tokens, kv_heads, value_dim]
  std::function<Tensor(int layer, const Tensor& out)> cross_heads;  // out F32 [1, target tokens, heads, value_dim]
};

/// Ids that a decoder needs to know.
struct TargetTokens {
  int start = 0;  // what every target begins with
  int end = 0;    // what ends it
  int pad = 0;    // stands for nothing
};

/// Targets of one batch while they are being written. Row i belongs to source i at first.
class Decoding {
 public:
  virtual ~Decoding() = default;
  /// Adds ids[i] to row i. F32 [rows, vocabulary]: the logits of what follows it. Error when the model has no more
  /// positions.
  virtual Tensor step(std::span<const int> ids) = 0;
  /// Row i becomes what row rows[i] is. Rows may repeat (beams) and be left out (finished texts); their sources may not
  /// change order.
  virtual void select(std::span<const int> rows) = 0;
};

class EncoderDecoder {
 public:
  virtual ~EncoderDecoder() = default;
  virtual const Summary& summary() const = 0;
  virtual TargetTokens target_tokens() const = 0;
  /// Whether passes hear `heads` and `cross_heads`; Error from those that don't.
  virtual bool edits_heads() const { return true; }

  /// Reads sources, packed along time. Throws Error when one is longer than the model's positions, naming both counts.
  virtual Result encode(std::span<const Sequence> sources, const Pass& pass = {}) const = 0;
  /// Reads targets as if each token had just been written (teacher forcing): as many as there are sources, each
  /// beginning with target_tokens().start. What it returns borrows nothing of `sources` but must not outlive the model.
  virtual Result decode(const Result& sources, std::span<const Sequence> targets,
                        const DecoderPass& pass = {}) const = 0;
  /// F32 [rows, vocabulary] of hidden rows [rows, width]: what follows each.
  virtual Tensor vocabulary_logits(const Tensor& hidden) const = 0;
  /// Begins one target for each source, to be written a token at a time.
  virtual std::unique_ptr<Decoding> begin(const Result& sources) const = 0;
};

/// Whether a folder holds an encoder–decoder, by the model_type of its config.json.
bool is_encoder_decoder(const std::filesystem::path& folder);
/// As load_encoder; Error also for a family that only reads.
std::unique_ptr<EncoderDecoder> load_encoder_decoder(const std::filesystem::path& folder);
/// The reading half of a model as an encoder of its own, for all that looks at encoders.
std::unique_ptr<Encoder> encoder_half(std::shared_ptr<const EncoderDecoder> model);

}  // namespace fovea::models
