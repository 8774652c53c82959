#include "nn/attention_block.hpp"

#include <utility>

#include "ops/attention.hpp"

namespace fovea::nn {

AttentionBlock::AttentionBlock(const Weights& weights, const AttentionNames& names, const AttentionShape& shape)
    : shape_(shape) {
  const std::int64_t heads = shape.heads, kv_heads = shape.kv_heads;
  const auto project = [&](const Projection& p, std::int64_t in, std::int64_t out) {
    return Linear(weights / p.scope, in, out, p.bias);
  };
  query_ = project(names.query, shape.width, heads * shape.head_dim);
  key_ = project(names.key, shape.memory_width, kv_heads * shape.head_dim);
  value_ = project(names.value, shape.memory_width, kv_heads * shape.value_dim);
  const Weights output = weights / names.output.scope;
  output_weight_ = output.f32("weight", {shape.width, heads * shape.value_dim});
  output_ = {output_weight_, names.output.bias == Bias::Present ? output.f32("bias", {shape.width}) : Tensor(),
             weights.purpose()};
}

Tensor AttentionBlock::operator()(const Tensor& x, const Tensor& memory, const AttentionSpec& spec,
                                  AttentionTrace* trace, const AttentionEdit& edit) const {
  KeysValues kv = project(memory);
  if (edit.values) edit.values(kv.v);
  return over(x, kv, spec, trace, edit.heads);
}

KeysValues AttentionBlock::project(const Tensor& memory) const {
  const std::int64_t keys = memory.shape()[0];
  return {key_(memory).reshape({1, keys, shape_.kv_heads, shape_.head_dim}),
          value_(memory).reshape({1, keys, shape_.kv_heads, shape_.value_dim})};
}

Tensor AttentionBlock::over(const Tensor& x, const KeysValues& memory, const AttentionSpec& spec, AttentionTrace* trace,
                            const OutputEdit& edit) const {
  return mixed(queries(x), memory, spec, trace, edit);
}

Tensor AttentionBlock::queries(const Tensor& x) const {
  return query_(x).reshape({1, x.shape()[0], shape_.heads, shape_.head_dim});
}

Tensor AttentionBlock::mixed(const Tensor& q, const KeysValues& memory, const AttentionSpec& spec,
                             AttentionTrace* trace, const OutputEdit& edit) const {
  Attention attention = attend_recorded(q, memory.k, memory.v, spec);
  const Tensor out = attention.out;
  if (trace) *trace = {q, memory.k, memory.v, std::move(attention)};
  return joined(edit ? edit(out) : out);
}

Tensor AttentionBlock::step(const Tensor& x, KvCache& cache) const {
  const std::int64_t rows = x.shape()[0];
  cache.append(key_(x).reshape({rows, 1, shape_.kv_heads, shape_.head_dim}),
               value_(x).reshape({rows, 1, shape_.kv_heads, shape_.value_dim}));
  const Tensor q = query_(x).reshape({rows, 1, shape_.heads, shape_.head_dim});
  return joined(attend(q, cache.keys(), cache.values(), AttentionSpec()).out);
}

Tensor AttentionBlock::joined(const Tensor& out) const {
  return output_(out.reshape({out.shape()[0] * out.shape()[1], std::int64_t{shape_.heads} * shape_.value_dim}));
}

}  // namespace fovea::nn
