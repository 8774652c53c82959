// Element-wise and row-wise operators on f32 tensors: activations, layer norm, addition.
#pragma once
#include <fovea/tensor.hpp>
#include <string_view>

namespace fovea {

enum class Activation { Identity, Relu, Gelu, GeluTanh, GeluQuick, Silu, Tanh, Sigmoid };

/// By the name a config.json uses: relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, quick_gelu, silu, swish, tanh,
/// sigmoid, linear. Throws Error listing them when the name is none of these.
Activation activation_of(std::string_view name);
/// In place, x F32 of any shape.
void activate(Tensor& x, Activation a);
/// (x − mean) / √(variance + eps) · gain + shift over the last dimension. x F32 [rows, width], gain and shift F32
/// [width].
Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& shift, float eps);
/// x += y, F32 of one shape.
void add(Tensor& x, const Tensor& y);

}  // namespace fovea
