// The online softmax of a strip: scores become weights e^(score − base), in place.
//
// The base of a row is its running maximum, or lags behind it by at most kSlack: then it moves, and the output is
// rescaled, once or twice a row, not some log(tiles) times (Milakov & Gimelshein 2018, with a lazy maximum). A base
// that may lag further is no faster, and the rounding of score − base would show in the greatest weights. A row's base
// depends on its own scores alone, never on how rows are grouped.
//
// Cost of 16 scores on AVX-512, in slots of the two FMA ports: max, sub, mul, reduce, 6 FMA, scalef (2), add = 13,
// beside 2·head_dim of the products: 10% at head_dim 64. One FMA for sub and mul would save a slot, but leave the
// rounding of base·log2 e in the weight of the greatest score, which should be 1 exactly: a row that sees one key
// copies its value.
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/piece.hpp"

namespace fovea::FOVEA_ISA {

/// scores [rows, 64]: the composed functor, then −∞ where the mask hides.
inline void finish_scores(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range range,
                          const std::uint64_t* bits) {
  if (p.score.self)
    for_segments(p, w, row, rows, [&](const Segment& g) {
      p.score.apply[kTier](p.score.self, {s.scores + (g.row - row) * kTileKeys, kTileKeys, 1, tile_of(w, g, range)});
    });
  for (int i = 0; i < rows; ++i) {
    if (bits[i] == kAllBits) continue;
    float* x = s.scores + i * kTileKeys;
    for (int j = 0; j < kTileKeys; j += kLanes)
      store(x + j, select(lanes_of(bits[i] >> j), load(x + j), minus_infinity()));
  }
}

/// scores [rows, 64] of a strip and a packed tile of keys.
inline void score_strip(const Problem& p, const Piece& w, const Scratch& s, const float* keys, int row, int rows,
                        Range range, const std::uint64_t* bits) {
  const int dims = round_up(p.head_dim, kLanes);
  product<false>(rows, kTileKeys, p.head_dim, s.queries + row * dims, dims, keys, kTileKeys, s.scores, kTileKeys);
  finish_scores(p, w, s, row, rows, range, bits);
}

/// A score of −∞ (from a bias, say) hides its key as a mask does.
inline void hide_minus_infinity(const Scratch& s, int rows, std::uint64_t* bits) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < kTileKeys; ++j)
      if (s.scores[i * kTileKeys + j] == minus_infinity()) bits[i] &= ~(std::uint64_t{1} << j);
}

inline constexpr float kSlack = 1;

/// A row's base moves up to its greatest score; what it has summed so far shrinks by as much.
inline void raise_base(const Scratch& s, int row, int padded, float base) {
  const float old = s.base[row];
  s.base[row] = base;
  if (old == minus_infinity()) return;  // nothing summed yet
  const Vec shrink = exp2(Vec(old - base) * kLog2E);
  store(s.sum + row * kLanes, load(s.sum + row * kLanes) * shrink);
  float* o = s.out + row * padded;
  for (int d = 0; d < padded; d += kLanes) store(o + d, load(o + d) * shrink);
}

inline void softmax_strip(const Scratch& s, int row, int rows, int padded) {
  constexpr int kVecs = kTileKeys / kLanes;
  for (int r = row; r < row + rows; ++r) {
    float* x = s.scores + (r - row) * kTileKeys;
    Vec most = load(x);
#pragma GCC unroll 16
    for (int j = 1; j < kVecs; ++j) most = max(most, load(x + j * kLanes));
    if (any(Vec(s.base[r] + kSlack) < most)) raise_base(s, r, padded, reduce_max(most));
    const Vec base = s.base[r] == minus_infinity() ? 0.0f : s.base[r];  // −∞ must never meet −∞
    Vec total = 0.0f;
#pragma GCC unroll 16
    for (int j = 0; j < kVecs; ++j) {
      const Vec e = exp2((load(x + j * kLanes) - base) * kLog2E);
      store(x + j * kLanes, e);
      total = total + e;
    }
    store(s.sum + r * kLanes, load(s.sum + r * kLanes) + total);
  }
}

}  // namespace fovea::FOVEA_ISA
