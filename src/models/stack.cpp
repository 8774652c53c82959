#include "models/stack.hpp"

#include <utility>

#include "models/repeat.hpp"

namespace fovea::models {

Stack::Stack(const Pass& pass, std::span<const Sequence> sequences) : pass_(pass), ends_(ends_of(sequences)) {
  keep_for_backward(ends_);
  result_.ends = *ends_;
}

Stack::Attending::Attending(Stack& stack, const char* kind, int layer, AttentionSpec spec, const Changes& changes,
                            Ends key_ends)
    : stack_(stack), kind_(kind), layer_(layer), spec_(std::move(spec)), key_ends_(std::move(key_ends)) {
  if (changes.values) edit_.values = [&values = changes.values, layer](Tensor& v) { values(layer, v); };
  if (changes.heads) edit_.heads = [&heads = changes.heads, layer](const Tensor& out) { return heads(layer, out); };
}

void Stack::Attending::keep(const nn::AttentionBlock& block) {
  if (!stack_.pass_.record_attention) return;
  stack_.result_.layers.push_back({kind_, layer_, trace_.q, trace_.k, trace_.v, std::move(trace_.attention),
                                   block.output_weight(), stack_.ends_, key_ends_});
}

Result Stack::run(int layers, std::int64_t width, const Embed& embed, const Layer& layer) && {
  const std::int64_t tokens = ends_->empty() ? 0 : ends_->back();
  const std::optional<Tensor> start = start_of(pass_, layers, tokens, width);
  Tensor x = start ? *start : embed(tokens);  // [tokens, width]
  if (pass_.record_hidden) result_.hidden_states.resize(static_cast<std::size_t>(layers) + 1);
  const auto keep = [&](int i) {
    if (pass_.record_hidden) result_.hidden_states[static_cast<std::size_t>(i)] = x;
  };
  keep(pass_.first_layer);
  for (int i = pass_.first_layer; i < layers; ++i) {
    x = layer(i, x);
    keep(i + 1);
  }
  result_.hidden = x;
  return std::move(result_);
}

Result run_encoder(std::span<const nn::EncoderLayer> layers, std::int64_t width, std::span<const Sequence> sequences,
                   const Pass& pass, const Stack::Embed& embed) {
  if (repeats(pass)) return repeat_encoder(layers, pass);
  Stack stack(pass, sequences);
  const auto run = [&](int i, const Tensor& x) {
    const nn::EncoderLayer& layer = layers[static_cast<std::size_t>(i)];
    const AnyMask mask = pass.mask ? pass.mask(i) : AnyMask();
    Stack::Attending self(stack, "encoder", i, AttentionSpec(packed(*stack.ends()), mask), {pass.values, pass.heads});
    const nn::AttentionPass given = self.pass();
    Tensor y = layer(x, given.spec, given.trace, given.edit);
    self.keep(layer.attention());
    return y;
  };
  return std::move(stack).run(static_cast<int>(layers.size()), width, embed, run);
}

}  // namespace fovea::models
