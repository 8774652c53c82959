// What a loaded model offers to the layers above: a forward pass that can be recorded and edited, and the weights that
// looking needs.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fovea/attention.hpp>

namespace fovea::models {

/// A model's shape, as `fovea info` prints it.
struct Summary {
  std::string family;        // "bert"
  std::string architecture;  // "BertModel", as config.json says
  int layers = 0, heads = 0, kv_heads = 0, head_dim = 0, width = 0, feed_forward = 0;
  int positions = 0, vocabulary = 0;
  std::int64_t parameters = 0;
  int decoder_layers = 0;             // 0: the model is an encoder alone
  bool self_attention = true;         // false: recurrent layers, and at most additive attention to the source
  int pruned_heads = 0;               // that layers lack of `heads` each, all together
  std::string weights_dtype;          // "F32", as stored
  std::vector<std::string> warnings;  // non-finite weights, …
};

/// One text as the model reads it.
struct Sequence {
  std::vector<int> ids, types;  // types: token type (segment) of each id
  int first_position = 0;  // of ids[0]; training shifts it, so that later positions are learnt from short texts too
};

/// Attention of one layer as it really ran. q, k, v are what the kernel read; `attention` can be asked for any weight.
struct LayerRecord {
  std::string kind;  // "encoder", "decoder" or "cross"
  int layer = 0;
  Tensor q, k, v;                                // [1, tokens, heads, head_dim], all sequences packed along time
  Attention attention;                           // batch index = sequence index
  TensorView output_weight;                      // W_O [width, heads · value_dim], F32; borrowed from the model
  std::shared_ptr<const std::vector<int>> ends;  // where sequences end along time; `attention` borrows it
  std::shared_ptr<const std::vector<int>>
      key_ends;  // of "cross": where the sequences that are looked at end; null: they are the same
};

/// A recorded pass over one sequence, to be repeated with changes: a batch of its copies in which rows that the changes
/// cannot reach, or that nobody reads, need not be computed.
struct Repeat {
  std::span<const Tensor> hidden_states;  // [layers + 1] of [tokens, width]
  std::span<const LayerRecord> layers;    // of every kind of attention that the repeated stack has, others too
  std::string kind;                       // whose attention is changed
  /// The queries of a copy, from the first to the last, whose attention the pass changes in a layer; none: {}.
  std::function<Range(int layer, std::size_t copy)> touched;
  std::span<const Range>
      read;                  // [copies] rows of the result that will be read, not empty; what others hold is not said
  bool new_sources = false;  // of a decoder: what it reads differs from what the recorded one did
};

/// What to keep, and what to change, in one forward pass.
struct Pass {
  bool record_attention = false, record_hidden = false;
  /// Edges to cut: the mask of a layer, over and above the model's own; null: nothing is cut.
  std::function<AnyMask(int layer)> mask;
  /// Changes a layer's values before they are attended to, in place: v F32 [1, tokens, kv_heads, value_dim]; null:
  /// never.
  std::function<void(int layer, Tensor& v)> values;
  /// What a layer's heads put out, before W_O: F32 [1, tokens, heads, value_dim] → itself or a new tensor of that
  /// shape, recorded where a tape stands; null: never.
  std::function<Tensor(int layer, const Tensor& out)> heads;
  int first_layer = 0;  // start here from `start` instead of from the embedding; earlier layers leave no record
  const Tensor* start = nullptr;  // [tokens, width], the input of first_layer
  /// The sequences are copies of one that is known: a family may leave out what repeats it, and then records nothing.
  const Repeat* repeat = nullptr;
};

struct Result {
  std::vector<int> ends;  // sequence i is rows [ends[i-1], ends[i])
  Tensor hidden;          // F32 [tokens, width], the last layer's output
  std::vector<LayerRecord> layers;
  std::vector<Tensor> hidden_states;  // [layers + 1] of [tokens, width]; 0 is the embedding
};

class Encoder {
 public:
  virtual ~Encoder() = default;
  virtual const Summary& summary() const = 0;
  /// Throws Error when a sequence is longer than the model's positions, naming both counts.
  virtual Result forward(std::span<const Sequence> sequences, const Pass& pass = {}) const = 0;

  /// Whether the folder has a masked-LM head.
  virtual bool predicts_vocabulary() const = 0;
  /// Masked-LM logits F32 [rows, vocabulary] of hidden rows [rows, width]; Error when the folder has no such head.
  virtual Tensor vocabulary_logits(const Tensor& hidden) const = 0;
  /// Sequence-classification logits F32 [sequences, labels]; Error when the folder has no such head.
  virtual Tensor class_logits(const Result& result) const = 0;
  virtual const std::vector<std::string>& labels() const = 0;
  /// The pooler's output F32 [sequences, width] (tanh of a linear layer on the first token); Error when the folder has
  /// none.
  virtual Tensor pooled(const Result& result) const = 0;
};

/// Loads a folder in Hugging Face layout by the model_type of its config.json. Error: unknown family, with those that
/// are known.
std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& folder);
/// The families that load_encoder knows.
std::vector<std::string> families();

}  // namespace fovea::models
