// How rows of bf16 numbers become operands of tile products: right operands in pairs of channels or of rows, left ones
// turned.
#pragma once
#include "kernels/generic/tile_product.hpp"

namespace fovea::FOVEA_ISA {

/// to [n, 2] = two rows [n], one beside the other. In words: two stores of 16 bits g++ 12 leaves one at a time.
inline void pair_rows(const bf16* even, const bf16* odd, int n, bf16* to) {
  for (int d = 0; d < n; ++d) {
    const std::uint32_t pair = std::uint32_t{even[d].bits} | static_cast<std::uint32_t>(odd[d].bits) << 16;
    __builtin_memcpy(static_cast<void*>(to + 2 * d), &pair, sizeof pair);
  }
}

/// to [words, kColumns, 2] = the transpose of from [kColumns, words, 2]: a pair is moved as a float is. Of rows as they
/// lie it makes pairs of channels; of rows in pairs, channels whose numbers lie side by side.
inline void turn_pairs(const bf16* from, int words, bf16* to) {
  for (int row = 0; row < kColumns; row += kLanes)
    for (int word = 0; word < words; word += kLanes) {
      Vec square[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        __builtin_memcpy(&square[i], from + ((row + i) * words + word) * 2, sizeof square[i]);
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        __builtin_memcpy(static_cast<void*>(to + ((word + i) * kColumns + row) * 2), &square[i], sizeof square[i]);
    }
}

/// A strip of kColumns rows [dims] in pairs of rows, as panels of kColumns channels, `panel` numbers apart: each [16,
/// kColumns, 2]. Rows c and c + kLanes are a pair, as two vectors side by side are that store_pairs() leaves:
/// the order of a product's depth is free, if only both operands have it.
inline void pair_strip(const bf16* rows, int dims, bf16* to, std::ptrdiff_t panel) {
  for (int c = 0; c < kColumns; c += 2 * kLanes)
    for (int i = 0; i < kLanes; ++i)
      for (int d = 0; d < dims; d += kColumns) {
        const bf16* even = rows + (c + i) * dims + d;
        pair_rows(even, even + kLanes * dims, kColumns, to + d / kColumns * panel + (c + 2 * i) * kColumns);
      }
}

inline bool all_finite(const bf16* x, int n) {
  std::uint16_t most = 0;
  for (int i = 0; i < n; ++i) {
    const auto size = static_cast<std::uint16_t>(x[i].bits & 0x7fffu);
    most = most < size ? size : most;
  }
  return most < 0x7f80u;
}

}  // namespace fovea::FOVEA_ISA
