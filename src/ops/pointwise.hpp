// Element-wise operators on F32 and F64 tensors. They take x by value: where nobody else holds its memory and no tape
// stands they work in place (hand it over with std::move), else they make a new tensor.
#pragma once
#include <string_view>

#include <fovea/tensor.hpp>

namespace fovea {

enum class Activation { Identity, Relu, Gelu, GeluTanh, GeluQuick, Silu, Tanh, Sigmoid };

/// By the name a config.json uses: relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, quick_gelu, silu, swish, tanh,
/// sigmoid, linear. Throws Error listing them when the name is none of these.
Activation activation_of(std::string_view name);
/// x of any shape.
Tensor activate(Tensor x, Activation a);
/// x + y, of one shape.
Tensor add(Tensor x, const Tensor& y);
/// x ∘ y, of one shape.
Tensor multiply(Tensor x, const Tensor& y);
/// factor · x.
Tensor scale(Tensor x, double factor);

}  // namespace fovea
