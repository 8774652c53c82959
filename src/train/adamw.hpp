// The optimiser: Adam with decoupled weight decay.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include <fovea/tensor.hpp>

namespace fovea::train {

using NamedTensors = std::map<std::string, Tensor>;  // F32, by name; handles to the memory that layers compute with

struct AdamWSettings {
  double beta1 = 0.9, beta2 = 0.98, eps = 1e-9;
  double weight_decay = 0;  // of matrices; biases and norms are left alone
};

/// Kingma & Ba 2015 (arXiv 1412.6980) with the decay of Loshchilov & Hutter 2019 (1711.05101):
/// m = β₁m + (1−β₁)g, v = β₂v + (1−β₂)g², θ ← θ − lr·(m̂ / (√v̂ + ε) + decay·θ).
class AdamW {
 public:
  AdamW(NamedTensors parameters, const AdamWSettings& settings);

  /// One update of every parameter in place. `gradients` by the same names; each is multiplied by `factor` first.
  void step(const NamedTensors& gradients, double learning_rate, double factor);

  std::int64_t steps() const { return steps_; }
  /// Moments by the parameter's name, and how often they were updated: all that is needed to go on as if nothing had
  /// happened.
  const NamedTensors& first() const { return first_; }
  const NamedTensors& second() const { return second_; }
  /// Takes both over; they are checked by who reads them from a file: every name, as F32 of the parameter's shape.
  void restore(std::int64_t steps, const NamedTensors& first, const NamedTensors& second);

 private:
  NamedTensors parameters_, first_, second_;
  AdamWSettings settings_;
  std::int64_t steps_ = 0;
};

/// √Σg² over all tensors, summed in double in a fixed order.
double global_norm(const NamedTensors& gradients);

}  // namespace fovea::train
