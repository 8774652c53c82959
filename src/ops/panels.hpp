// The right operands of matrix products, packed once for many rows, and the product with one.
#pragma once
#include <cstdint>

#include <fovea/tensor.hpp>

namespace fovea {

/// B [depth, columns]. In f32 it lies in panels of 64 columns, as KernelTable::linear reads them; in f64, for gradient
/// checks, as it is.
struct Panels {
  static constexpr std::int64_t kWidth = 64;
  std::int64_t depth = 0, columns = 0;
  Tensor data;  // F32 [columns/64 rounded up, depth, 64], zeros beyond the last column; or F64 [depth, columns]

  std::int64_t count() const { return (columns + kWidth - 1) / kWidth; }
  const float* panel(std::int64_t i) const { return data.data<float>() + i * depth * kWidth; }
};

/// B as it lies: b [depth, columns].
Panels pack(const float* b, std::int64_t depth, std::int64_t columns);
Panels pack(const double* b, std::int64_t depth, std::int64_t columns);
/// B = wᵀ, w [columns, depth], as weights of linear layers lie.
Panels pack_turned(const float* w, std::int64_t columns, std::int64_t depth);
Panels pack_turned(const double* w, std::int64_t columns, std::int64_t depth);
/// What pack_turned packed in f32: w [columns, depth].
Tensor unpack_turned(const Panels& b);

/// c [rows, columns] = a [rows, depth] · B, plus bias [columns] where it isn't null. Sums over the depth are in one
/// order whatever the number of rows and threads.
void multiply(const float* a, std::int64_t rows, const Panels& b, const float* bias, float* c);
void multiply(const double* a, std::int64_t rows, const Panels& b, const double* bias, double* c);

/// c [depth, columns] = aᵀ · b, a [rows, depth], b [rows, columns].
void multiply_turned(const float* a, const float* b, std::int64_t rows, std::int64_t depth, std::int64_t columns,
                     float* c);
void multiply_turned(const double* a, const double* b, std::int64_t rows, std::int64_t depth, std::int64_t columns,
                     double* c);

}  // namespace fovea
