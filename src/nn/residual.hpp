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

/// What a half reads of x …
inline Tensor entering(const Tensor& x, const LayerNorm& norm, NormOrder order) {
  return order == NormOrder::Pre ? norm(x) : x;
}
/// … and what goes on once it has answered: both F32 [tokens, width].
inline Tensor leaving(Tensor answer, const Tensor& x, const LayerNorm& norm, NormOrder order) {
  Tensor sum = add(std::move(answer), x);
  return order == NormOrder::Pre ? sum : norm(sum);
}

/// `half` maps F32 [tokens, width] to a fresh tensor of that shape; x is left as it is: it may be somebody's record of
/// the hidden states.
template <class Half>
Tensor residual(const Tensor& x, const LayerNorm& norm, NormOrder order, float dropout_rate, Half&& half) {
  return leaving(dropout(half(entering(x, norm, order)), dropout_rate), x, norm, order);
}

}  // namespace fovea::nn
