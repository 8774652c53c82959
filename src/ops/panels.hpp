// The right operands of matrix products, packed once for many rows, and the product with one.
#pragma once
#include <cstdint>

#include <fovea/tensor.hpp>

#include "kernels/registry.hpp"

namespace fovea {

/// Of what numbers a product of f32 matrices is made: of themselves, or of themselves rounded to bf16, with sums in f32
/// either way. Rounded ones meet in the machine's bf16 products where it has them (AMX, AVX512-BF16), else in those of
/// f32: the same numbers, and no faster. Products in f64 are never rounded.
enum class Products { F32, Bf16 };

/// B [depth, columns]. In f32 it lies in panels of 64 columns, as KernelTable::linear reads them; in bf16 in panels of
/// pairs, as Bf16Table::linear does; in f64, for gradient checks, as it is.
struct Panels {
  static constexpr std::int64_t kWidth = 64;
  std::int64_t depth = 0, columns = 0;
  Tensor data;  // F32 [columns/64 rounded up, depth, 64], zeros beyond the last column; BF16; or F64 [depth, columns]
  Products products = Products::F32;  // Bf16: of rounded numbers, whatever they lie in; what meets them is rounded too
  Bf16Products by = {};               // where data is BF16

  std::int64_t count() const { return (columns + kWidth - 1) / kWidth; }
  const float* panel(std::int64_t i) const { return data.data<float>() + i * depth * kWidth; }
};

/// B as it lies: b [depth, columns].
Panels pack(const float* b, std::int64_t depth, std::int64_t columns, Products products = Products::F32);
Panels pack(const double* b, std::int64_t depth, std::int64_t columns, Products = Products::F32);
/// B = wᵀ, w [columns, depth], as weights of linear layers lie.
Panels pack_turned(const float* w, std::int64_t columns, std::int64_t depth, Products products = Products::F32);
Panels pack_turned(const double* w, std::int64_t columns, std::int64_t depth, Products = Products::F32);
/// What pack_turned packed in f32: w [columns, depth].
Tensor unpack_turned(const Panels& b);

/// c [rows, columns] = a [rows, depth] · B, plus bias [columns] where it isn't null. Sums over the depth are in one
/// order whatever the number of rows and threads.
void multiply(const float* a, std::int64_t rows, const Panels& b, const float* bias, float* c);
void multiply(const double* a, std::int64_t rows, const Panels& b, const double* bias, double* c);

/// c [depth, columns] = aᵀ · b, a [rows, depth], b [rows, columns].
void multiply_turned(const float* a, const float* b, std::int64_t rows, std::int64_t depth, std::int64_t columns,
                     float* c, Products products = Products::F32);
void multiply_turned(const double* a, const double* b, std::int64_t rows, std::int64_t depth, std::int64_t columns,
                     double* c, Products = Products::F32);

}  // namespace fovea
