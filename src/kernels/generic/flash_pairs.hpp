// The passes of flash.hpp, few_rows.hpp and gradients.hpp on pairs of bf16. Other numbers than bf16 coming back, and
// what else a table offers, are the business of kBase, the f32 kernels of the same machine.
#pragma once
#include "kernels/generic/denormals.hpp"
#include "kernels/generic/flash.hpp"
#include "kernels/generic/gradient_operands_bf16.hpp"
#include "kernels/generic/gradients.hpp"
#include "kernels/generic/operands_bf16.hpp"

namespace fovea::FOVEA_ISA {

inline Plan plan_bf16(const Problem& p) noexcept { return kBase.plan(p); }

inline void forward_bf16(const Problem& p, const Plan& plan, std::int64_t item, std::byte* memory) noexcept {
  forward_on<Bf16Operands>(p, plan, item, memory);
}

/// Six products at twice the rate of f32's never pay.
inline constexpr decltype(Bf16Table::plan_split) plan_split = nullptr;
inline constexpr decltype(Bf16Table::forward_split) forward_split = nullptr;

inline GradientPlan plan_backward_bf16(const Problem& p) noexcept {
  GradientPlan plan = kBase.plan_backward(p);
  Bf16Gradients::Scratch unused;
  const std::size_t own = lay_out(plan, nullptr, &unused);
  if (own > plan.scratch_bytes) plan.scratch_bytes = own;
  return plan;
}

inline void backward_bf16(const Problem& p, const GradientProblem& g, const GradientPlan& plan, std::int64_t item,
                          std::byte* memory) noexcept {
  const FlushDenormals guard;
  if (g.dout.dtype != DType::BF16) return kBase.backward(p, g, plan, item, memory);
  backward_item<GradientPiece<Bf16Gradients>>(p, g, plan, item, memory);
}

}  // namespace fovea::FOVEA_ISA
