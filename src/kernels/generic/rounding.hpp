// How f32 numbers become operands of linear layers on products of bf16: linear_pairs.hpp, linear_tiles.hpp.
//
// X [rows, depth] lies in rows of bf16 with zeros behind its last number and row, up to kDepthUnit and kRowUnit; W in
// panels of kColumns columns, row r of a panel holding numbers 2r and 2r + 1 of each column.
#pragma once
#include <cstddef>
#include <cstdint>

#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

/// to [rows, padded] = from [rows, n] rounded to bf16, zeros behind.
inline void round_rows(const float* from, std::ptrdiff_t stride, int rows, int n, bf16* to, int padded) noexcept {
  for (int r = 0; r < rows; ++r, from += stride, to += padded) {
    for (int i = 0; i < n; ++i) to[i] = bf16(from[i]);
    for (int i = n; i < padded; ++i) to[i].bits = 0;
  }
}

/// to [padded, 2]: pairs of two rows [n] rounded to bf16, zeros behind; without an `odd` row, zeros stand for it.
inline void round_pairs(const float* even, const float* odd, int n, bf16* to, int padded) noexcept {
  if (odd)
    for (int i = 0; i < n; ++i) to[2 * i] = bf16(even[i]), to[2 * i + 1] = bf16(odd[i]);
  else
    for (int i = 0; i < n; ++i) to[2 * i] = bf16(even[i]), to[2 * i + 1].bits = 0;
  for (int i = 2 * n; i < 2 * padded; ++i) to[i].bits = 0;
}

}  // namespace fovea::FOVEA_ISA
