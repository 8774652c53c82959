// Tensors side by side and one below the other.
#pragma once
#include <span>

#include <fovea/tensor.hpp>

namespace fovea {

/// [rows, width] tensors → [rows, all widths].
Tensor join_columns(std::span<const Tensor> parts);
/// [rows, width] tensors of one width → [all rows, width].
Tensor join_rows(std::span<const Tensor> parts);

}  // namespace fovea
