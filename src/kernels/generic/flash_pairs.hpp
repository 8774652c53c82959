// The passes of flash.hpp and few_rows.hpp on pairs of bf16. What else a table offers is the business of kBase, the f32
// kernels of the same machine.
#pragma once
#include "kernels/generic/denormals.hpp"
#include "kernels/generic/flash.hpp"
#include "kernels/generic/operands_bf16.hpp"

namespace fovea::FOVEA_ISA {

inline Plan plan_bf16(const Problem& p) noexcept { return kBase.plan(p); }

inline void forward_bf16(const Problem& p, const Plan& plan, std::int64_t item, std::byte* memory) noexcept {
  const FlushDenormals guard;
  const auto [w, split, partials] = item_of(p, plan, item);
  Scratch s;
  lay_out(p, plan, plan.query_rows, memory, &s);
  if (few_rows(p, w.batch)) return forward_few<Bf16Operands>(p, w, s, plan.padded_value_dim, split, partials);
  forward_piece<Bf16Operands>(p, plan, w, s);
}

}  // namespace fovea::FOVEA_ISA
