// Attention and linear layers on bf16 products, instantiated for bf16 dot products emulated on AVX-512. Flags:
// src/kernels/CMakeLists.txt.
#define FOVEA_ISA pairs_on_avx512
#include "kernels/simd/avx512.hpp"
#include "kernels/table.hpp"

namespace fovea::pairs_on_avx512 {
inline constexpr ApplyTier kTier = kApplyAvx512;
}

#include "kernels/simd/pairs_emulated.hpp"

namespace fovea::pairs_on_avx512 {
inline constexpr const KernelTable& kBase = kAvx512Table;
}

#include "kernels/generic/flash_pairs.hpp"
#include "kernels/generic/linear_pairs.hpp"
#include "kernels/generic/table_bf16.hpp"

namespace fovea {
const Bf16Table kPairsOnAvx512Table = pairs_on_avx512::bf16_table();
}
