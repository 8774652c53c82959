#include "nn/encoder_layer.hpp"

namespace fovea::nn {

EncoderLayer::EncoderLayer(const Weights& weights, const EncoderLayerNames& names, const EncoderLayerShape& shape)
    : attention_(weights, names.attention, shape.attention),
      feed_forward_(weights, names.feed_forward, shape.attention.width, shape.feed_forward, shape.activation,
                    shape.activation_dropout),
      attention_norm_(weights / names.attention_norm, shape.attention.width, shape.eps),
      feed_forward_norm_(weights / names.feed_forward_norm, shape.attention.width, shape.eps),
      order_(shape.order),
      dropout_(shape.dropout) {}

Tensor EncoderLayer::operator()(const Tensor& x, const AttentionSpec& spec, AttentionTrace* trace,
                                const AttentionEdit& edit) const {
  const Tensor attended =
      residual(x, attention_norm_, order_, dropout_, [&](const Tensor& h) { return attention_(h, spec, trace, edit); });
  return feed_forward(attended);
}

}  // namespace fovea::nn
