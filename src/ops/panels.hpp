// Matrices in panels of 64 columns, as KernelTable::linear reads them, and the product with one.
#pragma once
#include <cstdint>

#include <fovea/tensor.hpp>

namespace fovea {

/// The right operand of a product, B [depth, columns] in f32.
struct Panels {
  static constexpr std::int64_t kWidth = 64;
  std::int64_t depth = 0, columns = 0;
  Tensor data;  // F32 [columns/64 rounded up, depth, 64], zeros beyond the last column

  std::int64_t count() const { return (columns + kWidth - 1) / kWidth; }
  const float* panel(std::int64_t i) const { return data.data<float>() + i * depth * kWidth; }
};

/// B as it lies: b [depth, columns].
Panels pack(const float* b, std::int64_t depth, std::int64_t columns);
/// B = wᵀ, w [columns, depth], as weights of linear layers lie.
Panels pack_turned(const float* w, std::int64_t columns, std::int64_t depth);
/// What pack_turned packed: w F32 [columns, depth].
Tensor unpack_turned(const Panels& b);
/// to [columns, rows] = fromᵀ, from [rows, columns].
void transpose(const float* from, std::int64_t rows, std::int64_t columns, float* to);

/// c [rows, columns] = a [rows, depth] · B, plus bias [columns] where it isn't null. Sums over the depth are in one
/// order whatever the number of rows and threads.
void multiply(const float* a, std::int64_t rows, const Panels& b, const float* bias, float* c);

}  // namespace fovea
