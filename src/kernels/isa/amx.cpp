// Attention on bf16 products, instantiated for bf16 tiles of AMX. Flags: src/kernels/CMakeLists.txt.
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

#include "kernels/generic/tile_product.hpp"
static_assert(fovea::amx::kColumns % fovea::amx::kLanes == 0 && fovea::amx::kColumns <= fovea::kTileQueries);
#include "kernels/generic/flash_bf16.hpp"

namespace fovea {
const Bf16Table kAmxTable = {amx::plan_bf16, amx::forward_bf16, amx::spin_bf16, amx::kBf16FlopsPerRound};
}
