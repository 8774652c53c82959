// What this machine can run, and what FOVEA_ISA allows.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

/// Instruction sets that kernels are built for, weakest first.
enum class Isa { Scalar, Avx2, Avx512, Avx512Bf16, Amx };

std::string_view name_of(Isa isa);  ///< "scalar", "avx2", "avx512", "avx512bf16", "amx"
bool cpu_has(Isa isa);              ///< the CPU and the operating system both support it
/// The best instruction set that may be used: what the CPU has, lowered by FOVEA_ISA=scalar|avx2|avx512|avx512bf16|amx.
/// Read afresh at each call. Throws Error when FOVEA_ISA names one that is unknown or that this CPU lacks.
Isa active_isa();
/// What FOVEA_ISA=avx512bf16-emulated or amx-emulated asks for: that instruction set's own kernels on instructions
/// written in C++, on any machine. They are slow, and for tests. None otherwise.
std::optional<Isa> emulated_isa();
/// All that FOVEA_ISA may be set to on this machine, weakest first, emulations last.
std::vector<std::string> isa_settings();
std::vector<Isa> usable_isas();  ///< those this CPU has, weakest first (ignores FOVEA_ISA)
std::string cpu_features();      ///< "avx2 fma f16c avx512f avx512bw …": the bits that kernels ask about

}  // namespace fovea
