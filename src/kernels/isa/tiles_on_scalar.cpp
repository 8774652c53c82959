// Attention and linear layers on bf16 products, instantiated for bf16 tiles emulated on any machine. Flags:
// src/kernels/CMakeLists.txt.
#define FOVEA_ISA tiles_on_scalar
#include "kernels/simd/scalar.hpp"
#include "kernels/table.hpp"

namespace fovea::tiles_on_scalar {
inline constexpr ApplyTier kTier = kApplyScalar;
}

#include "kernels/simd/tiles_emulated.hpp"

namespace fovea::tiles_on_scalar {
inline constexpr const KernelTable& kBase = kScalarTable;
}

#include "kernels/generic/flash_tiles.hpp"
#include "kernels/generic/linear_tiles.hpp"
#include "kernels/generic/table_bf16.hpp"

namespace fovea {
const Bf16Table kTilesOnScalarTable = tiles_on_scalar::bf16_table();
}
