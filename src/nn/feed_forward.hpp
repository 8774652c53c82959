// The position-wise half of a transformer layer.
#pragma once
#include <cstdint>
#include <string_view>

#include "nn/linear.hpp"
#include "ops/dropout.hpp"
#include "ops/pointwise.hpp"

namespace fovea::nn {

struct FeedForwardNames { std::string_view up, down; };

/// down(activation(up(x))), both with a bias. x F32 [rows, width] → [rows, width]
class FeedForward {
 public:
  FeedForward() = default;
  /// `dropout_rate` is that of the hidden layer, in training.
  FeedForward(const Weights& weights, const FeedForwardNames& names, std::int64_t width, std::int64_t hidden, Activation activation,
              float dropout_rate = 0)
      : up_(weights / names.up, width, hidden),
        down_(weights / names.down, hidden, width),
        activation_(activation),
        dropout_(dropout_rate) {}
  Tensor operator()(const Tensor& x) const { return down_(dropout(activate(up_(x), activation_), dropout_)); }

 private:
  Linear up_, down_;
  Activation activation_ = Activation::Identity;
  float dropout_ = 0;
};

}  // namespace fovea::nn
