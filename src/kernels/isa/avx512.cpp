// The generic kernels, instantiated for avx512. Flags: src/kernels/CMakeLists.txt.
#define FOVEA_ISA avx512
#include "kernels/simd/avx512.hpp"

#include "kernels/table.hpp"

namespace fovea::avx512 {
inline constexpr ApplyTier kTier = kApplyAvx512;
}

#include "kernels/generic/kernels.hpp"

namespace fovea {
const KernelTable kAvx512Table = avx512::table();
}
