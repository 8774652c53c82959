// Which instruction sets are usable, and what FOVEA_ISA does to that.
#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include <fovea/cpu.hpp>
#include <fovea/error.hpp>

#include "support/isa.hpp"

namespace fovea {
namespace {

using testing::UseIsa;

TEST(Cpu, UsableIsStartsWithScalarAndIsWhatTheCpuHas) {
  const auto isas = usable_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::Scalar);
  for (const Isa isa : {Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx})
    EXPECT_EQ(std::find(isas.begin(), isas.end(), isa) != isas.end(), cpu_has(isa)) << name_of(isa);
  EXPECT_TRUE(std::is_sorted(isas.begin(), isas.end()));
}

// The kernel's own list of flags is a second opinion on ours.
TEST(Cpu, AgreesWithTheKernel) {
  std::ifstream file("/proc/cpuinfo");
  std::string line, flags;
  while (std::getline(file, line))
    if (line.starts_with("flags")) {
      flags = line + ' ';
      break;
    }
  if (flags.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  const auto has = [&flags](const std::string& f) { return flags.find(' ' + f + ' ') != std::string::npos; };
  EXPECT_EQ(cpu_has(Isa::Avx2), has("avx2") && has("fma") && has("f16c"));
  EXPECT_EQ(cpu_has(Isa::Avx512),
            cpu_has(Isa::Avx2) && has("avx512f") && has("avx512bw") && has("avx512dq") && has("avx512vl"));
  EXPECT_EQ(cpu_has(Isa::Avx512Bf16), cpu_has(Isa::Avx512) && has("avx512_bf16"));
  EXPECT_LE(cpu_has(Isa::Amx), has("amx_tile") && has("amx_bf16"));  // the system may also refuse it to a process
  EXPECT_EQ((' ' + cpu_features() + ' ').find(" avx512f ") != std::string::npos, has("avx512f"));
}

TEST(Cpu, OverrideIsReadAfreshAndOnlyLowers) {
  for (const Isa isa : usable_isas()) {
    const UseIsa use(name_of(isa));
    EXPECT_EQ(active_isa(), isa);
  }
  const UseIsa unset("");
  EXPECT_EQ(active_isa(), usable_isas().back());
}

TEST(Cpu, EmulationsAreAskedForByNameAlone) {
  for (const std::string& setting : isa_settings()) {
    const UseIsa use(setting);
    const bool emulated = setting.ends_with("-emulated");
    EXPECT_EQ(emulated_isa().has_value(), emulated);
    if (!emulated) continue;
    EXPECT_EQ(std::string(name_of(*emulated_isa())) + "-emulated", setting);
    EXPECT_EQ(active_isa(), usable_isas().back());  // everything else runs as it would
  }
  const UseIsa unset("");
  EXPECT_FALSE(emulated_isa());
}

TEST(Cpu, OverrideThatCannotBeObeyedIsRefused) {
  for (const std::string name : {"avx9000", "AVX2", "scalar ", "sse"}) {
    const UseIsa use(name);
    try {
      (void)active_isa();
      FAIL() << name << " was accepted";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("FOVEA_ISA=" + name), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("scalar, avx2, avx512, avx512bf16 or amx"), std::string::npos) << e.what();
    }
  }
  for (const Isa isa : {Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx}) {
    if (cpu_has(isa)) continue;
    const UseIsa use(name_of(isa));
    try {
      (void)active_isa();
      FAIL() << name_of(isa) << " was accepted";
    } catch (const Error& e) { EXPECT_NE(std::string(e.what()).find("lacks"), std::string::npos) << e.what(); }
  }
}

}  // namespace
}  // namespace fovea
