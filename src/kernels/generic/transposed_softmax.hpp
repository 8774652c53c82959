// The online softmax of transposed scores: keys down, queries across the lanes, so nothing is added up across a vector.
//
// The same state and the same rule as in softmax.hpp: a query's base moves to its greatest score where that exceeds it
// by more than kSlack, and what the query has summed shrinks; weights go out as pairs of keys, rounded to bf16, while
// the denominator sums them unrounded (rounded ones would leave 3e-3 in LSE).
#pragma once
#include <fovea/dtype.hpp>

#include "kernels/generic/math.hpp"
#include "kernels/generic/piece.hpp"

namespace fovea::FOVEA_ISA {

/// to [kLanes] pairs, each of a number of `even` (first) and one of `odd`, rounded.
inline void store_pairs(bf16* to, Vec even, Vec odd) {
  float e[kLanes], o[kLanes];
  std::uint32_t words[kLanes];
  store(e, even), store(o, odd);
  for (int i = 0; i < kLanes; ++i)
    words[i] = std::uint32_t{bf16(e[i]).bits} | static_cast<std::uint32_t>(bf16(o[i]).bits) << 16;
  __builtin_memcpy(static_cast<void*>(to), words, sizeof words);
}

/// bits [64], a word a row, becomes its transpose (Warren, Hacker's Delight, 7-3: halves of halves change places).
inline void transpose_bits(std::uint64_t* bits) {
  std::uint64_t low = 0x00000000ffffffffu;
  for (int half = 32; half != 0; half >>= 1, low ^= low << half)
    for (int k = 0; k < 64; k = ((k | half) + 1) & ~half) {
      const std::uint64_t swap = ((bits[k] >> half) ^ bits[k | half]) & low;
      bits[k] ^= swap << half, bits[k | half] ^= swap;
    }
}

/// The state of a strip of kColumns queries.
struct StripState {
  float *base, *sum;  // [kColumns]
  float* out;         // [value_rows, kColumns]
  int value_rows;
};

/// What queries [column, column + kLanes) have summed shrinks where their greatest score rises above the base.
inline void raise_bases(const StripState& s, int column, Vec most) {
  constexpr float kSlack = 1;
  const Vec old = load(s.base + column);
  const Lanes raised = old + kSlack < most;
  if (!any(raised)) return;
  store(s.base + column, select(raised, most, old));
  const Vec shrink = select(raised, exp2((old - most) * kLog2E), 1.0f);
  store(s.sum + column, load(s.sum + column) * shrink);
  for (int d = 0; d < s.value_rows; ++d) {
    float* o = s.out + std::ptrdiff_t{d} * kColumns + column;
    store(o, load(o) * shrink);
  }
}

/// scores [64, kColumns] times `factor`, −∞ where `seen` [64], a bit a query, is not set (null: all is seen), become
/// weights [32, kColumns, 2]; scores keep what they were made of.
inline void transposed_softmax(const StripState& s, float factor, const std::uint64_t* seen, float* scores,
                               bf16* weights) {
  for (int column = 0; column < kColumns; column += kLanes) {
    Vec most = minus_infinity();
    for (int j = 0; j < kTileKeys; ++j) {
      float* at = scores + j * kColumns + column;
      Vec x = load(at) * factor;
      if (seen) x = select(lanes_of(seen[j] >> column), x, minus_infinity());
      store(at, x);
      most = max(most, x);
    }
    raise_bases(s, column, most);
    const Vec now = load(s.base + column);
    const Vec base = select(now < -3.402823466e38f, 0.0f, now);  // −∞ must never meet −∞; a NaN stays
    Vec total = 0.0f;
    for (int j = 0; j < kTileKeys; j += 2) {
      const float* at = scores + j * kColumns + column;
      const Vec even = exp2((load(at) - base) * kLog2E), odd = exp2((load(at + kColumns) - base) * kLog2E);
      total = total + even + odd;
      store_pairs(weights + j * kColumns + 2 * column, even, odd);
    }
    store(s.sum + column, load(s.sum + column) + total);
  }
}

}  // namespace fovea::FOVEA_ISA
