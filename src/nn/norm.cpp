#include "nn/norm.hpp"

namespace fovea::nn {

LayerNorm::LayerNorm(const Weights& weights, std::int64_t width, float eps)
    : gain_(weights.f32(weights.contains("gamma") ? "gamma" : "weight", {width})),
      shift_(weights.f32(weights.contains("beta") ? "beta" : "bias", {width})),
      eps_(eps) {}

}  // namespace fovea::nn
