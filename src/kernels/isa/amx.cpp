// Attention and linear layers on bf16 products, instantiated for bf16 tiles of AMX. Flags: src/kernels/CMakeLists.txt.
#define FOVEA_ISA amx
#include "kernels/simd/avx512.hpp"
#include "kernels/table.hpp"

namespace fovea::amx {
inline constexpr ApplyTier kTier = kApplyAvx512;
}

#include "kernels/simd/tiles.hpp"

namespace fovea::amx {
inline constexpr const KernelTable& kBase = kAvx512Table;
}

#include "kernels/generic/flash_tiles.hpp"
#include "kernels/generic/linear_tiles.hpp"
#include "kernels/generic/table_bf16.hpp"

namespace fovea {
const Bf16Table kAmxTable = amx::bf16_table();
}
