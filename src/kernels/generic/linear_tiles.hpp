// Linear layers on tiles of bf16.
#pragma once
#include "kernels/generic/piece.hpp"
#include "kernels/generic/strip_sums.hpp"
#include "kernels/generic/tile_product.hpp"

namespace fovea::FOVEA_ISA {

/// A strip of 48 rows meets 256 numbers of the depth at a time, which stay in L1.
inline void linear_bf16(int rows, DepthRun run, const bf16* x, std::ptrdiff_t ldx, const bf16* panel, const float* bias,
                        float* y, std::ptrdiff_t ldy, int columns) noexcept {
  constexpr int kRows = 48, kDepth = 256;
  static_assert(kRows % kRowUnit == 0 && kDepth % kDepthUnit == 0);
  alignas(64) float block[kRows * kColumns];  // [48, 32]
  Bf16Unit unit;
  panel += std::ptrdiff_t{run.begin} * kColumns;
  for (int r = 0; r < rows; r += kRows) {
    const int n = at_most(kRows, rows - r), padded = round_up(n, kRowUnit);
    float* to = y + r * ldy;
    if (!run.first()) copy_block<kColumns>(to, ldy, n, columns, block);
    for (int d = 0; d == 0 || d < run.size(); d += kDepth) {
      const auto product = d == 0 && run.first() ? bf16_product<false> : bf16_product<true>;
      product(unit, padded, at_most(kDepth, run.size() - d), x + r * ldx + d, ldx, panel + std::ptrdiff_t{d} * kColumns,
              block);
    }
    leave_sums<kColumns>(block, n, run.last() ? bias : nullptr, to, ldy, columns);
  }
}

}  // namespace fovea::FOVEA_ISA
