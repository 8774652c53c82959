#include "nn/encoder_layer.hpp"

namespace fovea::nn {

EncoderLayer::EncoderLayer(const Weights& weights, const EncoderLayerNames& names, const EncoderLayerShape& shape)
    : attention_(weights, names.attention, shape.attention),
      feed_forward_(weights, names.feed_forward, shape.attention.width, shape.feed_forward, shape.activation),
      attention_norm_(weights / names.attention_norm, shape.attention.width, shape.eps),
      feed_forward_norm_(weights / names.feed_forward_norm, shape.attention.width, shape.eps),
      order_(shape.order) {}

Tensor EncoderLayer::operator()(const Tensor& x, const AttentionSpec& spec, AttentionTrace* trace,
                                const ValueEdit& edit) const {
  // Sums go into the fresh output of each half; x may be somebody's record of the hidden states.
  if (order_ == NormOrder::Pre) {
    const Tensor attended = add(attention_(attention_norm_(x), spec, trace, edit), x);
    return add(feed_forward_(feed_forward_norm_(attended)), attended);
  }
  const Tensor attended = attention_norm_(add(attention_(x, spec, trace, edit), x));
  return feed_forward_norm_(add(feed_forward_(attended), attended));
}

}  // namespace fovea::nn
