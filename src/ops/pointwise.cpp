#include "ops/pointwise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fovea/threads.hpp>

#include "kernels/registry.hpp"

namespace fovea {

Activation activation_of(std::string_view name) {
  struct Named {
    std::string_view name;
    Activation activation;
  };
  static constexpr Named kNames[] = {
      {"relu", Activation::Relu},          {"gelu", Activation::Gelu},
      {"gelu_new", Activation::GeluTanh},  {"gelu_pytorch_tanh", Activation::GeluTanh},
      {"gelu_fast", Activation::GeluTanh}, {"quick_gelu", Activation::GeluQuick},
      {"silu", Activation::Silu},          {"swish", Activation::Silu},
      {"tanh", Activation::Tanh},          {"sigmoid", Activation::Sigmoid},
      {"linear", Activation::Identity},
  };
  std::string known;
  for (const Named& n : kNames) {
    if (n.name == name) return n.activation;
    known += (known.empty() ? "" : ", ") + std::string(n.name);
  }
  throw Error(fmt::format("activation '{}' is not supported; known are {}", name, known));
}

void activate(Tensor& x, Activation a) {
  constexpr std::int64_t kChunk = 1 << 14;
  const std::int64_t n = x.elements();
  float* data = x.data<float>();
  const KernelTable& kernels = active_table();
  parallel_for((n + kChunk - 1) / kChunk, [&](std::int64_t i) {
    kernels.activate(static_cast<int>(a), data + i * kChunk, std::min(kChunk, n - i * kChunk));
  });
}

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& shift, float eps) {
  if (x.shape().rank() != 2) throw Error(fmt::format("layer_norm: x is {}; expected [rows, width]", x.view().str()));
  const std::int64_t rows = x.shape()[0], width = x.shape()[1];
  for (const Tensor* t : {&gain, &shift})
    if (t->elements() != width)
      throw Error(fmt::format("layer_norm: gain or shift is {}; expected [{}]", t->view().str(), width));
  constexpr std::int64_t kRows = 32;
  Tensor y(DType::F32, x.shape());
  const KernelTable& kernels = active_table();
  parallel_for((rows + kRows - 1) / kRows, [&](std::int64_t i) {
    const std::int64_t first = i * kRows;
    kernels.layer_norm(x.data<float>() + first * width, static_cast<int>(std::min(kRows, rows - first)),
                       static_cast<int>(width), gain.data<float>(), shift.data<float>(), eps,
                       y.data<float>() + first * width);
  });
  return y;
}

void add(Tensor& x, const Tensor& y) {
  if (!(x.shape() == y.shape()))
    throw Error(fmt::format("add: {} and {} have different shapes", x.view().str(), y.view().str()));
  float* to = x.data<float>();
  const float* from = y.data<float>();
  for (std::int64_t i = 0, n = x.elements(); i < n; ++i) to[i] += from[i];
}

}  // namespace fovea
