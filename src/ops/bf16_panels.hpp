// Products of f32 numbers rounded to bf16, on a machine that has such products (AMX, AVX512-BF16): what panels.hpp does
// with Products::Bf16 there.
#pragma once
#include <cstdint>

#include "kernels/registry.hpp"
#include "ops/panels.hpp"

namespace fovea {

/// B [depth, columns] of b [depth, columns], or with `turned` of w [columns, depth], for `by`, whose table is not null.
Panels pack_bf16(const Bf16Products& by, const float* b, bool turned, std::int64_t depth, std::int64_t columns);
/// c [rows, columns] = a · B, a [rows, depth], or with `turned` aᵀ, a [depth, rows], plus bias [columns] or nothing.
void multiply_bf16(const float* a, bool turned, std::int64_t rows, const Panels& b, const float* bias, float* c);

}  // namespace fovea
