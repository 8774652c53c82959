// The matrix product of bf16 numbers by dot products of pairs: matmul.hpp's, in steps of two numbers of the depth.
//
// A [rows, depth] lies in rows of bf16, B in rows of pairs: row r of B holds numbers 2r and 2r + 1 of each column. A
// broadcast of two numbers of A meets kLanes pairs. On Zen 4 a dot product takes the slot of an FMA and does twice its
// work; on Intel with AMX two slots, so that widening to f32 is as fast: the registry's probe decides.
#pragma once
#include <cstddef>
#include <cstdint>

#include <fovea/dtype.hpp>

#include "kernels/generic/matmul.hpp"

namespace fovea::FOVEA_ISA {

template <>
struct Step<bf16> {
  static constexpr int kNumbers = 2;
  using Right = Pairs;
  static Pairs left(const bf16* a) { return broadcast_pair(a); }
  static Pairs right(const bf16* b) { return load_pairs(b); }
  static Vec add(Vec sum, Pairs left, Pairs right) { return dot(sum, left, right); }
};

inline constexpr int kColumns = kTileVecs * kLanes;  // of B and C, of a linear layer's panel
inline constexpr int kDepthUnit = 2;                 // depth is a multiple of it
inline constexpr int kRowUnit = 1;

/// Dot products on registers alone: kBf16FlopsPerRound · rounds operations.
inline constexpr int kChains = 16;  // hide a latency of 6 on two ports
inline constexpr int kBf16FlopsPerRound = kChains * 4 * kLanes;
inline float spin_bf16(std::int64_t rounds) noexcept {
  bf16 numbers[2 * kLanes];
  for (bf16& x : numbers) x = bf16(0.001f);
  const Pairs a = load_pairs(numbers), b = broadcast_pair(numbers);
  Vec sum[kChains];
  for (int i = 0; i < kChains; ++i) sum[i] = static_cast<float>(i);
  for (std::int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) sum[i] = dot(sum[i], a, b);
  }
  for (int i = 1; i < kChains; ++i) sum[0] = sum[0] + sum[i];
  return reduce_add(sum[0]);
}

}  // namespace fovea::FOVEA_ISA
