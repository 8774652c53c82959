// Normalisation of rows.
#pragma once
#include <fovea/tensor.hpp>

namespace fovea {

/// (x − mean) / √(variance + eps) · gain + shift over the last dimension (Ba et al. 2016, 1607.06450). x [rows, width],
/// gain and shift [width]; F32 or F64, all alike.
Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& shift, float eps);
/// x / √(mean(x²) + eps) · gain (Zhang & Sennrich 2019, 1910.07467).
Tensor rms_norm(const Tensor& x, const Tensor& gain, float eps);

}  // namespace fovea
