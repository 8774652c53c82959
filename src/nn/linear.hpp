// A linear layer bound to its tensors.
#pragma once
#include <cstdint>

#include "nn/weights.hpp"
#include "ops/linear.hpp"

namespace fovea::nn {

/// Whether a layer has a bias is for the architecture to say: a bias that is merely absent from the file is a broken file.
enum class Bias { None, Present };

/// `weight` [out, in] and, where there is one, `bias` [out] of a scope, widened and packed.
PackedLinear linear(const Weights& weights, std::int64_t in, std::int64_t out, Bias bias = Bias::Present);

}  // namespace fovea::nn
