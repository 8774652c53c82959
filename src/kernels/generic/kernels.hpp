// All generic kernels of one instruction set, and the table that exports them. Included once by each isa/*.cpp.
#pragma once
#include "kernels/generic/denormals.hpp"
#include "kernels/generic/dense.hpp"
#include "kernels/generic/flash.hpp"
#include "kernels/generic/gradients.hpp"
#include "kernels/generic/weights.hpp"

namespace fovea::FOVEA_ISA {

constexpr KernelTable table() {
  return {plan,   forward,  merge,      plan_backward, backward,       weights,
          linear, activate, layer_norm, spin_fma,      2 * 12 * kLanes};
}

}  // namespace fovea::FOVEA_ISA
