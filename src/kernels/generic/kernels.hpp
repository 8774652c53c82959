// All generic kernels of one instruction set, and the table that exports them. Included once by each isa/*.cpp.
#pragma once
#include "kernels/generic/activation.hpp"
#include "kernels/generic/additive.hpp"
#include "kernels/generic/asking.hpp"
#include "kernels/generic/denormals.hpp"
#include "kernels/generic/dense.hpp"
#include "kernels/generic/flash.hpp"
#include "kernels/generic/gates.hpp"
#include "kernels/generic/gradients.hpp"
#include "kernels/generic/learning.hpp"
#include "kernels/generic/norm.hpp"
#include "kernels/generic/philox.hpp"
#include "kernels/generic/row_softmax.hpp"
#include "kernels/generic/trace.hpp"
#include "kernels/generic/weights.hpp"

namespace fovea::FOVEA_ISA {

constexpr KernelTable table() {
  return {plan,
          forward,
          merge,
          plan_backward,
          backward,
          weights,
          trace,
          linear,
          linear_turned,
          turn,
          activate,
          activate_backward,
          layer_norm,
          layer_norm_backward,
          rms_norm,
          rms_norm_backward,
          row_softmax,
          row_slope,
          gru,
          gru_backward,
          lstm,
          lstm_backward,
          additive_scores,
          additive_backward,
          philox,
          drop,
          adamw,
          add,
          sum,
          sum_of_squares,
          read_alone,
          read_asking,
          spin_fma,
          2 * 12 * kLanes};
}

}  // namespace fovea::FOVEA_ISA
