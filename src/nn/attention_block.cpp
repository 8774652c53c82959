#include "nn/attention_block.hpp"

#include <utility>

#include "ops/attention.hpp"

namespace fovea::nn {

AttentionBlock::AttentionBlock(const Weights& weights, const AttentionNames& names, const AttentionShape& shape)
    : shape_(shape) {
  const std::int64_t heads = shape.heads, kv_heads = shape.kv_heads;
  const auto project = [&](const Projection& p, std::int64_t in, std::int64_t out) {
    return linear(weights / p.scope, in, out, p.bias);
  };
  query_ = project(names.query, shape.width, heads * shape.head_dim);
  key_ = project(names.key, shape.memory_width, kv_heads * shape.head_dim);
  value_ = project(names.value, shape.memory_width, kv_heads * shape.value_dim);
  const Weights output = weights / names.output.scope;
  output_weight_ = output.f32("weight", {shape.width, heads * shape.value_dim});
  output_ = PackedLinear(output_weight_, names.output.bias == Bias::Present ? output.f32("bias", {shape.width}) : Tensor());
}

Tensor AttentionBlock::operator()(const Tensor& x, const Tensor& memory, const AttentionSpec& spec,
                                  AttentionTrace* trace, const ValueEdit& edit) const {
  const std::int64_t tokens = x.shape()[0], keys = memory.shape()[0];
  const Tensor q = query_(x).reshape({1, tokens, shape_.heads, shape_.head_dim});
  const Tensor k = key_(memory).reshape({1, keys, shape_.kv_heads, shape_.head_dim});
  Tensor v = value_(memory).reshape({1, keys, shape_.kv_heads, shape_.value_dim});
  if (edit) edit(v);
  Attention attention = attend_recorded(q, k, v, spec);
  const Tensor joined = attention.out.reshape({tokens, std::int64_t{shape_.heads} * shape_.value_dim});
  if (trace) *trace = {q, k, v, std::move(attention)};
  return output_(joined);
}

}  // namespace fovea::nn
