// The attention half of a transformer layer as its parts, for who does not run it whole.
#pragma once
#include <utility>

#include "nn/attention_block.hpp"
#include "nn/residual.hpp"

namespace fovea::nn {

/// Borrows the layer. x F32 [rows, width] throughout.
struct AttentionHalf {
  const AttentionBlock& block;
  const LayerNorm& norm;
  NormOrder order;

  Tensor queries(const Tensor& x) const { return block.queries(entering(x, norm, order)); }
  KeysValues keys_values(const Tensor& x) const { return block.project(entering(x, norm, order)); }
  /// What leaves the half where x asked and attention answered, through W_O.
  Tensor left(Tensor answer, const Tensor& x) const { return leaving(std::move(answer), x, norm, order); }
};

}  // namespace fovea::nn
