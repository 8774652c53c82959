// Linear layers on dot products of bf16 pairs.
#pragma once
#include "kernels/generic/linear_strips.hpp"
#include "kernels/generic/pair_product.hpp"

namespace fovea::FOVEA_ISA {

/// A strip of rows meets 512 numbers of the depth at a time, which are read from L2 for the rows of each register tile:
/// at 256 the ends of register tiles took another 1% of large layers, 1,024 lost that of small ones. Asking for the
/// next panel, as dense.hpp does, gains nothing here: panels are half as long.
inline void linear_bf16(int rows, DepthRun run, const bf16* x, std::ptrdiff_t ldx, const bf16* panel, const float* bias,
                        float* y, std::ptrdiff_t ldy, int columns) noexcept {
  linear_strips<kColumns, 8 * kTileRows, 512>(rows, run, x, ldx, panel, bias, y, ldy, columns, Ahead({}, 1));
}

}  // namespace fovea::FOVEA_ISA
