// The generic kernels, instantiated for avx2. Flags: src/kernels/CMakeLists.txt.
#define FOVEA_ISA avx2
#include "kernels/simd/avx2.hpp"

#include "kernels/table.hpp"

namespace fovea::avx2 {
inline constexpr ApplyTier kTier = kApplyAvx2;
}

#include "kernels/generic/kernels.hpp"

namespace fovea {
const KernelTable kAvx2Table = avx2::table();
}
