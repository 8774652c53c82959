// Multi-head attention as a layer: projections around attend(). Queries come from x; keys and values from x too, or
// from a memory.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include <fovea/attention.hpp>

#include "nn/kv_cache.hpp"
#include "nn/linear.hpp"

namespace fovea::nn {

/// Vaswani et al. 2017, arXiv 1706.03762; grouped queries (kv_heads < heads) as Ainslie et al. 2023, 2305.13245.
struct AttentionShape {
  std::int64_t width = 0;         // of x and of the output
  std::int64_t memory_width = 0;  // of what keys and values are made from; width for self-attention
  int heads = 0, kv_heads = 0;    // kv_heads divides heads
  int head_dim = 0, value_dim = 0;
};

/// One projection: its scope below the block's, and whether it has a bias.
struct Projection {
  std::string_view scope;
  Bias bias = Bias::Present;
};
struct AttentionNames {
  Projection query, key, value, output;
};

/// What one pass leaves behind to be looked at; q, k, v are what the kernel read, and what `attention` borrows.
struct AttentionTrace {
  Tensor q, k, v;  // [1, tokens, heads, head_dim], [1, keys, kv_heads, head_dim], [1, keys, kv_heads, value_dim]
  Attention attention;
};

/// What queries attend to: k F32 [1, keys, kv_heads, head_dim], v F32 [1, keys, kv_heads, value_dim].
struct KeysValues {
  Tensor k, v;
};

/// Changes the values before they are attended to, in place: v F32 [1, keys, kv_heads, value_dim].
using ValueEdit = std::function<void(Tensor& v)>;
/// What goes on in place of what the heads put out, before W_O joins them: F32 [1, tokens, heads, value_dim], out
/// itself or a tensor of its own (the trace keeps what attention gave). Under a tape it records how to go back.
using OutputEdit = std::function<Tensor(const Tensor& out)>;
/// What one pass changes in a block; null: nothing.
struct AttentionEdit {
  ValueEdit values;
  OutputEdit heads;
};

class AttentionBlock {
 public:
  AttentionBlock() = default;
  AttentionBlock(const Weights& weights, const AttentionNames& names, const AttentionShape& shape);

  /// x F32 [tokens, width], memory F32 [keys, memory_width] → F32 [tokens, width]. `spec` says what is visible:
  /// sequences packed along time, a mask on top. With a trace, the pass can be asked for its weights afterwards, as
  /// long as what `spec` borrows lives.
  Tensor operator()(const Tensor& x, const Tensor& memory, const AttentionSpec& spec, AttentionTrace* trace = nullptr,
                    const AttentionEdit& edit = {}) const;
  /// Self-attention: x is its own memory.
  Tensor operator()(const Tensor& x, const AttentionSpec& spec, AttentionTrace* trace = nullptr,
                    const AttentionEdit& edit = {}) const {
    return (*this)(x, x, spec, trace, edit);
  }

  /// A memory's keys and values, for many calls of over(): the same in parts is operator().
  KeysValues project(const Tensor& memory) const;
  /// x F32 [tokens, width] → F32 [1, tokens, heads, head_dim]
  Tensor queries(const Tensor& x) const;
  /// Queries attend to what was projected before; [tokens, width].
  Tensor mixed(const Tensor& q, const KeysValues& memory, const AttentionSpec& spec, AttentionTrace* trace = nullptr,
               const OutputEdit& edit = {}) const;
  /// Heads side by side, through W_O: out F32 [1, tokens, heads, value_dim] → [tokens, width].
  Tensor joined(const Tensor& out) const;
  /// x attends to what was projected before; [tokens, width].
  Tensor over(const Tensor& x, const KeysValues& memory, const AttentionSpec& spec, AttentionTrace* trace = nullptr,
              const OutputEdit& edit = {}) const;
  /// One more token for every row of a cache: x F32 [rows, width] joins it and attends to all that its row holds;
  /// [rows, width].
  Tensor step(const Tensor& x, KvCache& cache) const;

  const AttentionShape& shape() const { return shape_; }
  /// W_O, F32 [width, heads · value_dim]: head h writes through columns [h · value_dim, (h + 1) · value_dim).
  const Tensor& output_weight() const { return output_weight_; }

 private:
  AttentionShape shape_;
  Linear query_, key_, value_, output_;
  Tensor output_weight_;
};

}  // namespace fovea::nn
