#include "train/adamw.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fovea/threads.hpp>

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
  const auto b1 = static_cast<float>(settings_.beta1), b2 = static_cast<float>(settings_.beta2);
  // 1 − β from the double: near 1, β as a float has lost some of it.
  const auto rest1 = static_cast<float>(1 - settings_.beta1), rest2 = static_cast<float>(1 - settings_.beta2);
  const auto unbias1 = static_cast<float>(1 / (1 - std::pow(settings_.beta1, t)));
  const auto unbias2 = static_cast<float>(1 / (1 - std::pow(settings_.beta2, t)));
  const auto rate = static_cast<float>(learning_rate), times = static_cast<float>(factor);
  const auto eps = static_cast<float>(settings_.eps);
  for (auto& [name, parameter] : parameters_) {
    const Tensor& gradient = gradients.at(name);
    const bool matrix = parameter.shape().rank() > 1;
    const float decay = matrix ? rate * static_cast<float>(settings_.weight_decay) : 0.0f;
    const float* g = gradient.data<float>();
    float *p = parameter.data<float>(), *m = first_.at(name).data<float>(), *v = second_.at(name).data<float>();
    const std::int64_t n = parameter.elements();
    parallel_for((n + kChunk - 1) / kChunk, [&](std::int64_t chunk) {
      const std::int64_t end = std::min(n, (chunk + 1) * kChunk);
      for (std::int64_t i = chunk * kChunk; i < end; ++i) {
        const float slope = times * g[i];
        m[i] = b1 * m[i] + rest1 * slope;
        v[i] = b2 * v[i] + rest2 * slope * slope;
        p[i] -= rate * (m[i] * unbias1) / (std::sqrt(v[i] * unbias2) + eps) + decay * p[i];
      }
    });
  }
}

double global_norm(const NamedTensors& gradients) {
  double sum = 0;
  for (const auto& [name, gradient] : gradients)
    for (const float g : gradient.values<float>()) sum += static_cast<double>(g) * static_cast<double>(g);
  return std::sqrt(sum);
}

}  // namespace fovea::train
