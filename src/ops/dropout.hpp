// Dropout.
#pragma once
#include <fovea/tensor.hpp>

namespace fovea {

/// x with elements zeroed with probability p, in 65536ths, and the others divided by 1 − p (Srivastava et al. 2014); x
/// itself without a tape or under a still one. What falls depends on the tape's seed, the operator's place on it and the element's index
/// alone. 0 ≤ p < 1.
Tensor dropout(Tensor x, float p);

}  // namespace fovea
