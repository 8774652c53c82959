// FOVEA_ISA decides which kernel runs: the kernel's name says that it did, and explain() says why the better ones
// didn't.
#include <algorithm>
#include <tuple>

#include <gtest/gtest.h>

#include <fovea/attention.hpp>
#include <fovea/cpu.hpp>

#include "kernels/probe.hpp"
#include "support/isa.hpp"

namespace fovea {
namespace {

using testing::UseIsa;

struct Override : ::testing::Test {
  Tensor q{DType::F32, {1, 3, 2, 8}}, k{DType::F32, {1, 5, 1, 8}}, v{DType::F32, {1, 5, 1, 8}};
};

/// The kernel that f32 problems take: of what is beyond AVX-512, only AMX is for them, where it pays.
std::string f32_kernel(Isa isa) {
  if (isa == Isa::Amx && split_products_pay()) return "flash_amx_f32";
  return "flash_" + std::string(name_of(std::min(isa, Isa::Avx512)));
}

TEST_F(Override, TakesEffectOnTheKernelThatRuns) {
  for (const Isa isa : usable_isas()) {
    const UseIsa use(name_of(isa));
    const std::string kernel(attend(q, k, v).kernel());
    EXPECT_EQ(kernel, f32_kernel(isa));
    EXPECT_EQ(explain(q, k, v, {}).chosen, kernel);
  }
}
TEST_F(Override, UnsetTakesTheBest) {
  const UseIsa use("");
  EXPECT_EQ(attend(q, k, v).kernel(), f32_kernel(usable_isas().back()));
}
TEST_F(Override, EmulationsTakeWhatTheirInstructionsWould) {
  const Tensor q16 = q.to(DType::BF16), k16 = k.to(DType::BF16), v16 = v.to(DType::BF16);
  const std::string wide = f32_kernel(usable_isas().back());  // f32 meets no pairs
  for (const auto& [setting, name, wide_name] :
       {std::tuple("amx-emulated", "flash_amx_emulated", std::string("flash_amx_f32_emulated")),
        std::tuple("avx512bf16-emulated", "flash_avx512bf16_emulated", wide)}) {
    const UseIsa use(setting);
    const Attention a = attend(q16, k16, v16);
    EXPECT_EQ(a.kernel(), name);
    EXPECT_EQ(explain(q16, k16, v16, {}).chosen, name);
    EXPECT_EQ(attend(q, k, v).kernel(), wide_name);
    EXPECT_EQ(attend(q16, k16, v16, output(DType::F32)).kernel(), wide_name);
    const std::vector<float> before = a.weights({.query = 1});
    const UseIsa best("");
    EXPECT_EQ(a.weights({.query = 1}), before);
    EXPECT_EQ(std::string(attend(q16, k16, v16).kernel()).find("emulated"), std::string::npos);  // never by itself
  }
}
TEST_F(Override, SaysWhyBf16ProductsAreNotForAProblem) {
  const UseIsa use("");
  const Tensor q16 = q.to(DType::BF16), k16 = k.to(DType::BF16), v16 = v.to(DType::BF16);
  EXPECT_NE(explain(q, k, v, {}).candidates[0].refusal.find("inputs are F32"), std::string::npos);
  AttentionSpec wide(output(DType::F32));
  EXPECT_NE(explain(q16, k16, v16, wide).candidates[0].refusal.find("F32 output"), std::string::npos);
  if (!cpu_has(Isa::Amx)) {
    EXPECT_NE(explain(q16, k16, v16, {}).candidates[0].refusal.find("lacks amx"), std::string::npos);
  }
}
TEST_F(Override, IsNamedInTheReasonOfEveryKernelItForbids) {
  const UseIsa use("scalar");
  const Explanation e = explain(q, k, v, {});
  ASSERT_GT(e.candidates.size(), 1u);
  for (const auto& candidate : e.candidates) {
    if (candidate.name == e.chosen) {
      EXPECT_EQ(candidate.refusal, "");
      continue;
    }
    if (candidate.refusal.find("multiplies bf16") != std::string::npos) continue;
    const bool lacking = candidate.refusal.find("lacks") != std::string::npos;
    const bool forbidden = candidate.refusal.find("FOVEA_ISA=scalar") != std::string::npos;
    EXPECT_TRUE(lacking || forbidden) << candidate.name << ": " << candidate.refusal;
  }
}
TEST_F(Override, ThatCannotBeObeyedIsAnErrorAndNotAnotherKernel) {
  const UseIsa use("avx9000");
  EXPECT_THROW(attend(q, k, v), Error);
  EXPECT_THROW(explain(q, k, v, {}), Error);
  for (const Isa isa : {Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx}) {
    if (cpu_has(isa)) continue;
    const UseIsa lacking(name_of(isa));
    EXPECT_THROW(attend(q, k, v), Error);
  }
}
TEST_F(Override, LeavesAResultToItsOwnKernel) {
  const UseIsa scalar("scalar");
  const Attention a = attend(q, k, v);
  const std::vector<float> before = a.weights({.query = 1});
  const UseIsa best("");
  EXPECT_EQ(a.kernel(), "flash_scalar");
  EXPECT_EQ(a.weights({.query = 1}), before);
}
TEST_F(Override, DoublesGoToTheReference) {
  Tensor q64 = q.to(DType::F64), k64 = k.to(DType::F64), v64 = v.to(DType::F64);
  EXPECT_EQ(attend(q64, k64, v64).kernel(), "reference");
  EXPECT_EQ(attend(q, k, v, kernel("reference")).kernel(), "reference");
}

}  // namespace
}  // namespace fovea
