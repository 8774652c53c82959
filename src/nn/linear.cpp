#include "nn/linear.hpp"

namespace fovea::nn {

PackedLinear linear(const Weights& weights, std::int64_t in, std::int64_t out, Bias bias) {
  const Tensor weight = weights.tensor("weight", {out, in});
  return PackedLinear(weight, bias == Bias::Present ? weights.f32("bias", {out}) : Tensor());
}

}  // namespace fovea::nn
