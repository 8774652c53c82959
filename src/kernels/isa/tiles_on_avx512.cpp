// Attention and linear layers on bf16 products, instantiated for bf16 tiles emulated beside AVX-512. Flags:
// src/kernels/CMakeLists.txt.
#define FOVEA_ISA tiles_on_avx512
#include "kernels/simd/avx512.hpp"
#include "kernels/table.hpp"

namespace fovea::tiles_on_avx512 {
inline constexpr ApplyTier kTier = kApplyAvx512;
}

#include "kernels/simd/tiles_emulated.hpp"

namespace fovea::tiles_on_avx512 {
inline constexpr const KernelTable& kBase = kAvx512Table;
}

#include "kernels/generic/flash_tiles.hpp"
#include "kernels/generic/linear_tiles.hpp"
#include "kernels/generic/table_bf16.hpp"

namespace fovea {
const Bf16Table kTilesOnAvx512Table = tiles_on_avx512::bf16_table();
}
