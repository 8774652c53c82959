// FOVEA_ISA decides which kernel runs: the kernel's name says that it did, and explain() says why the better ones
// didn't.
#include <gtest/gtest.h>

#include <fovea/attention.hpp>
#include <fovea/cpu.hpp>

#include "support/isa.hpp"

namespace fovea {
namespace {

using testing::UseIsa;

struct Override : ::testing::Test {
  Tensor q{DType::F32, {1, 3, 2, 8}}, k{DType::F32, {1, 5, 1, 8}}, v{DType::F32, {1, 5, 1, 8}};
};

TEST_F(Override, TakesEffectOnTheKernelThatRuns) {
  for (const Isa isa : usable_isas()) {
    const UseIsa use(name_of(isa));
    const std::string kernel(attend(q, k, v).kernel());
    EXPECT_EQ(kernel, "flash_" + std::string(name_of(isa)));
    EXPECT_EQ(explain(q, k, v, {}).chosen, kernel);
  }
}
TEST_F(Override, UnsetTakesTheBest) {
  const UseIsa use("");
  EXPECT_EQ(attend(q, k, v).kernel(), "flash_" + std::string(name_of(usable_isas().back())));
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
    const bool lacking = candidate.refusal.find("lacks") != std::string::npos;
    const bool forbidden = candidate.refusal.find("FOVEA_ISA=scalar") != std::string::npos;
    EXPECT_TRUE(lacking || forbidden) << candidate.name << ": " << candidate.refusal;
  }
}
TEST_F(Override, ThatCannotBeObeyedIsAnErrorAndNotAnotherKernel) {
  const UseIsa use("avx9000");
  EXPECT_THROW(attend(q, k, v), Error);
  EXPECT_THROW(explain(q, k, v, {}), Error);
  for (const Isa isa : {Isa::Avx2, Isa::Avx512}) {
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
