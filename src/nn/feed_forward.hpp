// The position-wise half of a transformer layer.
#pragma once
#include <cstdint>
#include <string_view>

#include "nn/linear.hpp"
#include "ops/pointwise.hpp"

namespace fovea::nn {

struct FeedForwardNames { std::string_view up, down; };

/// down(activation(up(x))), both with a bias. x F32 [rows, width] → [rows, width]
class FeedForward {
 public:
  FeedForward() = default;
  FeedForward(const Weights& weights, const FeedForwardNames& names, std::int64_t width, std::int64_t hidden, Activation activation)
      : up_(linear(weights / names.up, width, hidden)), down_(linear(weights / names.down, hidden, width)), activation_(activation) {}
  Tensor operator()(const Tensor& x) const {
    return down_(activate(up_(x), activation_));  // [rows, hidden] between the two
  }

 private:
  PackedLinear up_, down_;
  Activation activation_ = Activation::Identity;
};

}  // namespace fovea::nn
