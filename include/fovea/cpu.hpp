// What this machine can run, and what FOVEA_ISA allows.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

/// Instruction sets that kernels are built for, weakest first.
enum class Isa { Scalar, Avx2, Avx512 };

std::string_view name_of(Isa isa);  ///< "scalar", "avx2", "avx512"
bool cpu_has(Isa isa);              ///< the CPU and the operating system both support it
/// The best instruction set that may be used: what the CPU has, lowered by FOVEA_ISA=scalar|avx2|avx512.
/// Read afresh at each call. Throws Error when FOVEA_ISA names one that is unknown or that this CPU lacks.
Isa active_isa();
std::vector<Isa> usable_isas();  ///< those this CPU has, weakest first (ignores FOVEA_ISA)
std::string cpu_features();      ///< "avx2 fma f16c avx512f avx512bw …": the bits that kernels ask about

}  // namespace fovea
