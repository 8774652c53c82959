// Layer norm bound to its tensors.
#pragma once
#include <cstdint>

#include "nn/weights.hpp"
#include "ops/norm.hpp"

namespace fovea::nn {

/// Ba et al. 2016, arXiv 1607.06450. Tensors `weight` and `bias` [width], or `gamma` and `beta` as checkpoints converted from
/// TensorFlow name them.
class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(const Weights& weights, std::int64_t width, float eps);
  /// x F32 [rows, width] → [rows, width]
  Tensor operator()(const Tensor& x) const { return layer_norm(x, gain_, shift_, eps_); }

 private:
  Tensor gain_, shift_;  // F32 [width]
  float eps_ = 0;
};

}  // namespace fovea::nn
