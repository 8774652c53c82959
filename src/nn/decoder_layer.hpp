// One layer of a transformer decoder: self-attention, attention to a memory, and feed-forward, each with a residual and
// a norm.
#pragma once
#include <string_view>

#include "nn/attention_half.hpp"
#include "nn/feed_forward.hpp"

namespace fovea::nn {

struct DecoderLayerShape {
  AttentionShape self, cross;
  std::int64_t feed_forward = 0;
  Activation activation = Activation::Gelu;
  float eps = 0;
  NormOrder order = NormOrder::Post;
  float dropout = 0, activation_dropout = 0;  // as in EncoderLayerShape
};

/// Scopes of the parts below the layer's; each norm belongs to the half before it.
struct DecoderLayerNames {
  AttentionNames self;
  std::string_view self_norm;
  AttentionNames cross;
  std::string_view cross_norm;
  FeedForwardNames feed_forward;
  std::string_view feed_forward_norm;
};

/// One of the two attentions of a layer in one pass: what is visible, what to leave behind, what to change.
struct AttentionPass {
  const AttentionSpec& spec;
  AttentionTrace* trace = nullptr;
  AttentionEdit edit;
};

class DecoderLayer {
 public:
  DecoderLayer() = default;
  DecoderLayer(const Weights& weights, const DecoderLayerNames& names, const DecoderLayerShape& shape);
  /// x F32 [tokens, width], memory F32 [keys, memory_width] → a new tensor [tokens, width]; x is left as it is.
  Tensor operator()(const Tensor& x, const Tensor& memory, const AttentionPass& self, const AttentionPass& cross) const;
  /// One more token for every row of `self`: x F32 [rows, width] → [rows, width]. `memory` as
  /// cross_attention().project() makes it.
  Tensor step(const Tensor& x, KvCache& self, const KeysValues& memory, const AttentionSpec& cross) const;

  const AttentionBlock& self_attention() const { return self_; }
  const AttentionBlock& cross_attention() const { return cross_; }
  AttentionHalf self_half() const { return {self_, self_norm_, order_}; }
  AttentionHalf cross_half() const { return {cross_, cross_norm_, order_}; }
  /// The half behind them, x F32 [rows, width] → the same.
  Tensor feed_forward(const Tensor& x) const {
    return residual(x, feed_forward_norm_, order_, dropout_, feed_forward_);
  }

 private:
  AttentionBlock self_, cross_;
  FeedForward feed_forward_;
  LayerNorm self_norm_, cross_norm_, feed_forward_norm_;
  NormOrder order_ = NormOrder::Post;
  float dropout_ = 0;
};

}  // namespace fovea::nn
