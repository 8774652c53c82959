// Attention and linear layers on bf16 products, instantiated for bf16 dot products emulated on any machine. Flags:
// src/kernels/CMakeLists.txt.
#define FOVEA_ISA pairs_on_scalar
#include "kernels/simd/scalar.hpp"
#include "kernels/table.hpp"

namespace fovea::pairs_on_scalar {
inline constexpr ApplyTier kTier = kApplyScalar;
}

#include "kernels/simd/pairs_emulated.hpp"

namespace fovea::pairs_on_scalar {
inline constexpr const KernelTable& kBase = kScalarTable;
}

#include "kernels/generic/flash_pairs.hpp"
#include "kernels/generic/linear_pairs.hpp"
#include "kernels/generic/table_bf16.hpp"

namespace fovea {
const Bf16Table kPairsOnScalarTable = pairs_on_scalar::bf16_table();
}
