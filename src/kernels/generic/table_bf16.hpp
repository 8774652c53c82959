// All kernels on products of bf16 numbers, and the table that exports them. Included once by each isa/*.cpp that has
// such products, after its façade, kTier, kBase, and flash_pairs.hpp and linear_pairs.hpp or flash_tiles.hpp and
// linear_tiles.hpp (whose names come first).
#pragma once
#include "kernels/generic/rounding.hpp"

namespace fovea::FOVEA_ISA {

constexpr Bf16Table bf16_table() {
  return {plan_bf16,  forward_bf16, plan_split, forward_split, plan_backward_bf16, backward_bf16, linear_bf16,
          round_rows, round_pairs,  kColumns,   kDepthUnit,    kRowUnit,           spin_bf16,     kBf16FlopsPerRound};
}

}  // namespace fovea::FOVEA_ISA
