#include "nn/linear.hpp"

#include "ops/repeated_linear.hpp"

namespace fovea::nn {

Linear::Linear(const Weights& weights, std::int64_t in, std::int64_t out, Bias bias)
    : Linear{weights.tensor("weight", {out, in}),  // braces: what is wrong is said of the weight first
             bias == Bias::Present ? weights.f32("bias", {out}) : Tensor(), weights.purpose()} {}

Linear::Linear(const Tensor& weight, const Tensor& bias, Purpose purpose) {
  if (purpose == Purpose::Training)
    weight_ = weight, bias_ = bias;
  else
    packed_ = PackedLinear(weight, bias);
}

Tensor Linear::operator()(const Tensor& x) const { return weight_.empty() ? packed_(x) : linear(x, weight_, bias_); }

std::function<Tensor(const Tensor&)> Linear::repeated() const {
  if (!weight_.empty()) return RepeatedLinear(weight_, bias_);
  return [this](const Tensor& x) { return packed_(x); };
}

}  // namespace fovea::nn
