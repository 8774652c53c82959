// f32 numbers in parts of bf16, for products of f32 on units that multiply bf16 (Henry, Tang, Heinecke 2019, arXiv
// 1904.06376).
//
// Three roundings to bf16 hold all 24 bits of a float: x = a + b + c, |b| ≤ 2⁻⁸|x|, |c| ≤ 2⁻¹⁶|x|, and every rest is
// exact. Of the nine products of two such numbers six are made (tile_product.hpp); the three that are left out come to
// less than 2⁻²³|x||y| together. A sum of n products of f32 rounds by up to n·2⁻²⁴ of their sizes; here 32 products are
// two chains of 16 and then added, so that a sum of 64 is off by half of that, the missing products included. Below
// 2⁻¹¹⁰ the last part is a denormal, which the units take for 0, as the kernels of f32 take a denormal itself.
#pragma once
#include <cstddef>
#include <cstdint>

#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

inline constexpr int kPartsOfF32 = 3;

/// to [kLanes], three arrays of them `part` numbers apart = x in parts, the greatest first. x is finite; the first part
/// of the greatest floats, which would round to infinity, is the greatest bf16.
[[gnu::always_inline]] inline void store_parts(bf16* to, std::ptrdiff_t part, Vec x) {
  constexpr float kMost = 0x1.fep127f;
  store(to, min(max(x, Vec(-kMost)), Vec(kMost)));
  const Vec rest = x - load(to);
  store(to + part, rest);
  store(to + 2 * part, rest - load(to + part));
}

/// A vector's bits: of what was rounded to bf16, the upper halves.
typedef std::uint32_t Halves __attribute__((vector_size(4 * kLanes)));

/// x rounded to bf16, ties away from zero, is taken off x, which is exact. For numbers well below the greatest; a NaN
/// may be lost, but not from what is left.
[[gnu::always_inline]] inline Halves take_rounded(Vec& x) {
  Halves bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x8000u) & 0xffff0000u;
  Vec rounded;
  __builtin_memcpy(&rounded, &bits, sizeof bits);
  x = x - rounded;
  return bits;
}

/// to [kLanes, 2], and kParts arrays of them `part` numbers apart: pairs, each of a number of `even` (first) and one of
/// `odd`, rounded or in parts. Weights of a tile take this way between two products, so it is a few operations
/// on bits, where a conversion is eight.
template <int kParts>
[[gnu::always_inline]] inline void store_pairs(bf16* to, std::ptrdiff_t part, Vec even, Vec odd) {
#pragma GCC unroll 3
  for (int k = 0; k < kParts; ++k) {
    const Halves first = take_rounded(even), second = take_rounded(odd), pairs = first >> 16 | second;
    __builtin_memcpy(static_cast<void*>(to + k * part), &pairs, sizeof pairs);
  }
}

/// to [3, padded] = x [n] in parts, zeros behind.
inline void split_row(const float* x, int n, bf16* to, int padded) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) store_parts(to + i, padded, load(x + i));
  for (; i < padded; i += kLanes) {
    float rest[kLanes] = {};
    for (int j = 0; i + j < n; ++j) rest[j] = x[i + j];
    store_parts(to + i, padded, load(rest));
  }
}

}  // namespace fovea::FOVEA_ISA
