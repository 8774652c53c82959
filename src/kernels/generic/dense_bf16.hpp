// Linear layers on products of bf16 numbers, and how f32 numbers become their operands.
//
// X [rows, depth] lies in rows of bf16 with zeros behind its last number and row, up to kDepthUnit and kRowUnit; W in
// panels of kColumns columns, row r of a panel holding numbers 2r and 2r + 1 of each column.
#pragma once
#include <cstddef>
#include <cstdint>

#include <fovea/dtype.hpp>

#include "kernels/generic/piece.hpp"
#include "kernels/generic/strip_sums.hpp"

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

/// A strip of rows meets 512 numbers of the depth at a time, which are read from L2 for the rows of each register tile
/// (at 256 the ends of register tiles took another 1% of large layers, 1,024 lost that of small ones); with tiles of 32
/// columns 256, which stay in L1. Asking ahead, as dense.hpp does, gains nothing here: panels are half as long, and
/// asking for y's lines gave large layers half a percent and cost small ones 2.
inline void linear_bf16(int rows, DepthRun run, const bf16* x, std::ptrdiff_t ldx, const bf16* panel, const float* bias,
                        float* y, std::ptrdiff_t ldy, int columns) noexcept {
  constexpr int kRows = 48, kDepthOfBf16 = kColumns > 32 ? 512 : 256;
  static_assert(kRows % kRowUnit == 0 && kRows % kTileRows == 0 && kDepthOfBf16 % kDepthUnit == 0);
  alignas(64) float block[kRows * kColumns];  // [48, kColumns]
  Bf16Unit unit;
  panel += std::ptrdiff_t{run.begin} * kColumns;
  for (int r = 0; r < rows; r += kRows) {
    const int n = at_most(kRows, rows - r), padded = round_up(n, kRowUnit);
    float* to = y + r * ldy;
    if (!run.first()) copy_block<kColumns>(to, ldy, n, columns, block);
    for (int d = 0; d == 0 || d < run.size(); d += kDepthOfBf16) {
      const auto product = d == 0 && run.first() ? bf16_product<false> : bf16_product<true>;
      product(unit, padded, at_most(kDepthOfBf16, run.size() - d), x + r * ldx + d, ldx,
              panel + std::ptrdiff_t{d} * kColumns, block);
    }
    leave_sums<kColumns>(block, n, run.last() ? bias : nullptr, to, ldy, columns);
  }
}

}  // namespace fovea::FOVEA_ISA
