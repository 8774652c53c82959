#include "nn/decoder_layer.hpp"

namespace fovea::nn {

DecoderLayer::DecoderLayer(const Weights& weights, const DecoderLayerNames& names, const DecoderLayerShape& shape)
    : self_(weights, names.self, shape.self),
      cross_(weights, names.cross, shape.cross),
      feed_forward_(weights, names.feed_forward, shape.self.width, shape.feed_forward, shape.activation,
                    shape.activation_dropout),
      self_norm_(weights / names.self_norm, shape.self.width, shape.eps),
      cross_norm_(weights / names.cross_norm, shape.self.width, shape.eps),
      feed_forward_norm_(weights / names.feed_forward_norm, shape.self.width, shape.eps),
      order_(shape.order),
      dropout_(shape.dropout) {}

Tensor DecoderLayer::operator()(const Tensor& x, const Tensor& memory, const AttentionPass& self,
                                const AttentionPass& cross) const {
  Tensor h = residual(x, self_norm_, order_, dropout_,
                      [&](const Tensor& t) { return self_(t, self.spec, self.trace, self.edit); });
  h = residual(h, cross_norm_, order_, dropout_,
               [&](const Tensor& t) { return cross_(t, memory, cross.spec, cross.trace, cross.edit); });
  return feed_forward(h);
}

Tensor DecoderLayer::step(const Tensor& x, KvCache& self, const KeysValues& memory, const AttentionSpec& cross) const {
  Tensor h = residual(x, self_norm_, order_, dropout_, [&](const Tensor& t) { return self_.step(t, self); });
  h = residual(h, cross_norm_, order_, dropout_, [&](const Tensor& t) { return cross_.over(t, memory, cross); });
  return feed_forward(h);
}

}  // namespace fovea::nn
