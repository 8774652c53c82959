// y = x · Wᵀ + b: with weights that change, and with weights packed once.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>

#include <fovea/tensor.hpp>

#include "ops/panels.hpp"

namespace fovea {

/// x [rows, in], weight [out, in], bias [out] or an empty tensor → [rows, out]; F32 or F64, all alike. In f32 the
/// weight is packed at each call: for weights that never change, PackedLinear.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias);

/// A weight [out_features, in_features] in panels; keeps f32 whatever it came from. On a tape it is a constant:
/// gradients go through it to x. The first that does packs the weight for that way too, and it is kept: as much memory
/// again.
class PackedLinear {
 public:
  PackedLinear() = default;
  /// weight [out_features, in_features] of any float dtype; bias [out_features] or an empty tensor.
  PackedLinear(const TensorView& weight, const Tensor& bias);
  std::int64_t in_features() const { return panels_.depth; }
  std::int64_t out_features() const { return panels_.columns; }
  /// x F32 [rows, in_features] → F32 [rows, out_features].
  Tensor operator()(const Tensor& x) const;

 private:
  struct WayBack {
    std::once_flag once;
    Panels panels;  // of W
  };
  static const Panels& packed_back(const Panels& forward, WayBack& back);
  Panels panels_;  // of Wᵀ
  Tensor bias_;    // F32 [out_features] or empty
  std::shared_ptr<WayBack> back_;
};

}  // namespace fovea
