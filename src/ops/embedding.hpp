// Rows of a table.
#pragma once
#include <span>

#include <fovea/tensor.hpp>

namespace fovea {

/// table [rows, width], F32 or F64 → [ids, width]. Error when an id has no row. Its gradient is added up row by row, in
/// the order of ids. On any tensor, it picks rows.
Tensor embedding(const Tensor& table, std::span<const int> ids);

}  // namespace fovea
