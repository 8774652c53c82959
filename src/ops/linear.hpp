// y = x · Wᵀ + b, with W packed once into the panels that the matrix micro-kernels read.
#pragma once
#include <cstdint>
#include <fovea/tensor.hpp>
#include <memory>

namespace fovea {

/// A weight [out_features, in_features] in panels for the instruction set active when it was made; keeps f32 whatever
/// it came from.
class PackedLinear {
 public:
  PackedLinear() = default;
  /// weight [out_features, in_features] of any float dtype; bias [out_features] or an empty tensor.
  PackedLinear(const TensorView& weight, const Tensor& bias);
  std::int64_t in_features() const { return in_; }
  std::int64_t out_features() const { return out_; }
  /// x F32 [rows, in_features] → F32 [rows, out_features].
  Tensor operator()(const Tensor& x) const;

 private:
  std::int64_t in_ = 0, out_ = 0;
  Tensor panels_;  // [out/64 rounded up, in, 64]
  Tensor bias_;    // F32 [out/64 rounded up · 64], zeros when there is none
};

}  // namespace fovea
