// Attention and linear layers on bf16 products, instantiated for bf16 dot products of AVX512-BF16. Flags:
// src/kernels/CMakeLists.txt.
#define FOVEA_ISA avx512bf16
#include "kernels/simd/avx512.hpp"
#include "kernels/table.hpp"

namespace fovea::avx512bf16 {
inline constexpr ApplyTier kTier = kApplyAvx512;
}

#include "kernels/simd/pairs.hpp"

namespace fovea::avx512bf16 {
inline constexpr const KernelTable& kBase = kAvx512Table;
}

#include "kernels/generic/flash_pairs.hpp"
#include "kernels/generic/linear_pairs.hpp"
#include "kernels/generic/table_bf16.hpp"

namespace fovea {
const Bf16Table kAvx512Bf16Table = avx512bf16::bf16_table();
}
