#include "train/adamw.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fovea/threads.hpp>

#include "kernels/registry.hpp"

namespace fovea::train {
namespace {

constexpr std::int64_t kChunk = 1 << 14;

void copy_into(const NamedTensors& from, NamedTensors& to) {
  for (auto& [name, tensor] : to) std::ranges::copy(from.at(name).values<float>(), tensor.data<float>());
}

}  // namespace

AdamW::AdamW(NamedTensors parameters, const AdamWSettings& settings)
    : parameters_(std::move(parameters)), settings_(settings) {
  for (const auto& [name, p] : parameters_) {
    first_.emplace(name, Tensor(DType::F32, p.shape()));
    second_.emplace(name, Tensor(DType::F32, p.shape()));
  }
}

void AdamW::restore(std::int64_t steps, const NamedTensors& first, const NamedTensors& second) {
  copy_into(first, first_), copy_into(second, second_);
  steps_ = steps;
}

void AdamW::step(const NamedTensors& gradients, double learning_rate, double factor) {
  ++steps_;
  const auto t = static_cast<double>(steps_);
  AdamWStep at{
      .slope_factor = static_cast<float>(factor),
      .beta1 = static_cast<float>(settings_.beta1),
      .beta2 = static_cast<float>(settings_.beta2),
      // From the doubles: near 1, β as a float has lost some of 1 − β.
      .rest1 = static_cast<float>(1 - settings_.beta1),
      .rest2 = static_cast<float>(1 - settings_.beta2),
      .rate = static_cast<float>(learning_rate / (1 - std::pow(settings_.beta1, t))),
      .unbias2 = static_cast<float>(1 / (1 - std::pow(settings_.beta2, t))),
      .eps = static_cast<float>(settings_.eps),
      .decay = 0,
  };
  for (auto& [name, parameter] : parameters_) {
    const bool matrix = parameter.shape().rank() > 1;
    at.decay = matrix ? static_cast<float>(learning_rate * settings_.weight_decay) : 0.0f;
    const float* g = gradients.at(name).data<float>();
    float *p = parameter.data<float>(), *m = first_.at(name).data<float>(), *v = second_.at(name).data<float>();
    const std::int64_t n = parameter.elements();
    parallel_for((n + kChunk - 1) / kChunk, [&](std::int64_t chunk) {
      const std::int64_t first = chunk * kChunk;
      active_table().adamw(at, g + first, p + first, m + first, v + first, std::min(kChunk, n - first));
    });
  }
}

double global_norm(const NamedTensors& gradients) {
  double sum = 0;
  for (const auto& [name, gradient] : gradients)
    sum += active_table().sum_of_squares(gradient.data<float>(), gradient.elements());
  return std::sqrt(sum);
}

}  // namespace fovea::train
