// What every half of a transformer layer has around it: a residual, a norm before or after, and dropout in training.
#pragma once
#include <utility>

#include "nn/norm.hpp"
#include "ops/dropout.hpp"
#include "ops/pointwise.hpp"

namespace fovea::nn {

/// Where the norm stands: after the residual sum (Vaswani et al. 2017; BERT), or before each half (Xiong et al. 2020,
/// arXiv 2002.04745; most models since).
enum class NormOrder { Post, Pre };

/// `half` maps F32 [tokens, width] to a fresh tensor of that shape; x is left as it is: it may be somebody's record of
/// the hidden states.
template <class Half>
Tensor residual(const Tensor& x, const LayerNorm& norm, NormOrder order, float dropout_rate, Half&& half) {
  if (order == NormOrder::Pre) return add(dropout(half(norm(x)), dropout_rate), x);
  return norm(add(dropout(half(x), dropout_rate), x));
}

}  // namespace fovea::nn
