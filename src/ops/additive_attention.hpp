// Additive attention, from before attention was a product.
#pragma once
#include <cstdint>
#include <span>

#include <fovea/tensor.hpp>

namespace fovea {

struct AdditiveAttention {
  Tensor out;      // [queries, batch, value_dim]
  Tensor weights;  // [batch, queries, keys]: what each query took from where; gradients go through `out` alone
};

/// Bahdanau et al. 2014, 1409.0473: weights are the softmax over keys of direction · tanh(query + key), out their mean
/// of values. Time first, as recurrent layers lie: queries [queries, batch, width] and keys [keys, batch, width] are
/// projected already (W·s and U·h), direction is [width], values [keys, batch, value_dim]. `lengths` says how many keys
/// each sequence has, at least one; empty: all. `hidden`, [batch, queries, keys] where it isn't empty, is 1 for a key
/// that the query must not see; it has to leave one. F32 or F64, all alike. Nothing of the size queries × keys × width
/// is ever kept.
AdditiveAttention attend_additive(const Tensor& queries, const Tensor& keys, const Tensor& direction,
                                  const Tensor& values, std::span<const int> lengths = {},
                                  std::span<const std::uint8_t> hidden = {});

}  // namespace fovea
