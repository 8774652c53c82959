// The softmax over rows, and its logarithm.
#pragma once
#include <fovea/tensor.hpp>

namespace fovea {

/// e^x / Σ e^x over the last dimension. x of any rank above 0, F32 or F64.
Tensor softmax(const Tensor& x);
/// x − ln Σ e^x over the last dimension.
Tensor log_softmax(const Tensor& x);

}  // namespace fovea
