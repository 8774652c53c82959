// The generic kernels, instantiated for scalar. Flags: src/kernels/CMakeLists.txt.
#define FOVEA_ISA scalar
#include "kernels/simd/scalar.hpp"

#include "kernels/table.hpp"

namespace fovea::scalar {
inline constexpr ApplyTier kTier = kApplyScalar;
}

#include "kernels/generic/kernels.hpp"

namespace fovea {
const KernelTable kScalarTable = scalar::table();
}
