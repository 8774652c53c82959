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
  // Sums go into the fresh output of each half: inputs may be somebody's record of the hidden states.
  if (order_ == NormOrder::Pre) {
    Tensor attended = attention_(attention_norm_(x), spec, trace, edit);
    add(attended, x);
    Tensor out = feed_forward_(feed_forward_norm_(attended));
    add(out, attended);
    return out;
  }
  Tensor attended = attention_(x, spec, trace, edit);
  add(attended, x);
  attended = attention_norm_(attended);
  Tensor out = feed_forward_(attended);
  add(out, attended);
  return feed_forward_norm_(out);
}

}  // namespace fovea::nn
