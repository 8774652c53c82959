// One layer of a transformer encoder: self-attention and feed-forward, each with a residual and a norm.
#pragma once
#include <string_view>

#include "nn/attention_half.hpp"
#include "nn/feed_forward.hpp"

namespace fovea::nn {

struct EncoderLayerShape {
  AttentionShape attention;
  std::int64_t feed_forward = 0;
  Activation activation = Activation::Gelu;
  float eps = 0;
  NormOrder order = NormOrder::Post;
  float dropout = 0, activation_dropout = 0;  // in training: of what a half adds, and inside the feed-forward half
};

/// Scopes of the parts below the layer's. The first norm belongs to the attention half, the second to the feed-forward
/// half.
struct EncoderLayerNames {
  AttentionNames attention;
  std::string_view attention_norm;
  FeedForwardNames feed_forward;
  std::string_view feed_forward_norm;
};

class EncoderLayer {
 public:
  EncoderLayer() = default;
  EncoderLayer(const Weights& weights, const EncoderLayerNames& names, const EncoderLayerShape& shape);
  /// x F32 [tokens, width] → a new tensor of that shape; x is left as it is.
  Tensor operator()(const Tensor& x, const AttentionSpec& spec, AttentionTrace* trace = nullptr,
                    const AttentionEdit& edit = {}) const;
  const AttentionBlock& attention() const { return attention_; }
  AttentionHalf attention_half() const { return {attention_, attention_norm_, order_}; }
  /// The half behind it, x F32 [rows, width] → the same.
  Tensor feed_forward(const Tensor& x) const {
    return residual(x, feed_forward_norm_, order_, dropout_, feed_forward_);
  }

 private:
  AttentionBlock attention_;
  FeedForward feed_forward_;
  LayerNorm attention_norm_, feed_forward_norm_;
  NormOrder order_ = NormOrder::Post;
  float dropout_ = 0;
};

}  // namespace fovea::nn
