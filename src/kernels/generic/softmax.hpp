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
#include "kernels/generic/operands.hpp"
#include "kernels/generic/probes.hpp"

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
template <class O>
inline void score_strip(const Problem& p, const Piece& w, const Scratch& s, const typename O::Number* keys, int row,
                        int rows, Range range, const std::uint64_t* bits) {
  const int dims = round_up(p.head_dim, O::kDims), depth = round_up(p.head_dim, Step<typename O::Number>::kNumbers);
  product<false>(rows, kTileKeys, depth, O::queries(s) + row * dims, dims, keys, kTileKeys, s.scores, kTileKeys);
  if (const float factor = O::factor(p); factor != 1)
    for (int i = 0; i < rows * kTileKeys; i += kLanes) store(s.scores + i, load(s.scores + i) * factor);
  finish_scores(p, w, s, row, rows, range, bits);
}

/// A score of −∞ (from a bias, say) hides its key as a mask does.
inline void hide_minus_infinity(const Scratch& s, int rows, std::uint64_t* bits) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < kTileKeys; ++j)
      if (s.scores[i * kTileKeys + j] == minus_infinity()) bits[i] &= ~(std::uint64_t{1} << j);
}

/// A row's base moves up to its greatest score; what it has summed so far shrinks by as much.
inline void raise_base(const Scratch& s, int row, int padded, float base) {
  const float old = s.base[row];
  set_base(s, row, base);
  if (old == minus_infinity()) return;  // nothing summed yet
  const Vec shrink = exp2(Vec(old - base) * kLog2E);
  store(s.sum + row * kLanes, load(s.sum + row * kLanes) * shrink);
  float* o = s.out + row * padded;
  for (int d = 0; d < padded; d += kLanes) store(o + d, load(o + d) * shrink);
}

/// The greatest of a row's scores [64], lane by lane.
inline Vec greatest(const float* scores) {
  Vec most = load(scores);
#pragma GCC unroll 16
  for (int j = kLanes; j < kTileKeys; j += kLanes) most = max(most, load(scores + j));
  return most;
}

/// Rows from `row` on whose scores [rows, 64] exceed their bounds.
[[gnu::noinline]] inline void raise_bases(const Scratch& s, const float* scores, int row, int rows, int padded) {
  for (int i = 0; i < rows; ++i) {
    const Vec most = greatest(scores + i * kTileKeys);
    note_most(s, row + i, most);
    if (any(Vec(s.bound[row + i]) < most)) raise_base(s, row + i, padded, reduce_max(most));
  }
}

inline void softmax_strip(const Scratch& s, int row, int rows, int padded) {
  raise_bases(s, s.scores, row, rows, padded);
  for (int r = row; r < row + rows; ++r) {
    float* x = s.scores + (r - row) * kTileKeys;
    Vec total = 0.0f;
#pragma GCC unroll 16
    for (int j = 0; j < kTileKeys; j += kLanes) {
      const Vec e = exp2((load(x + j) - s.shift[r]) * kLog2E);
      store(x + j, e);
      total = total + e;
    }
    store(s.sum + r * kLanes, load(s.sum + r * kLanes) + total);
  }
}

/// raise_bases(), and what probes keep of scores [rows, 64] of keys from `first` on; their sums shrink as the row's do.
[[gnu::noinline]] inline void raise_bases_probed(const Problem& p, const Scratch& s, const float* scores, int row,
                                                 int rows, int padded, int first) {
  for (int i = 0; i < rows; ++i) {
    const int r = row + i;
    const RowProbe probe = probe_of(p, s, r);
    const Vec most = greatest(scores + i * kTileKeys);
    note_scores(*p.probes, probe, scores + i * kTileKeys, most, first);
    note_most(s, r, most);
    if (!any(Vec(s.bound[r]) < most)) continue;
    const float base = reduce_max(most);
    shrink_probe(p, probe, s.base[r], base, load(s.sum + r * kLanes));
    raise_base(s, r, padded, base);
  }
}

/// softmax_strip(), and the probes: the same bits in what both compute.
inline void softmax_strip_probed(const Problem& p, const Scratch& s, int row, int rows, int padded, Range keys) {
  raise_bases_probed(p, s, s.scores, row, rows, padded, keys.begin);
  const Vec lanes = lane_numbers();
  for (int r = row; r < row + rows; ++r) {
    const Vec total =
        weigh_row(*p.probes, probe_of(p, s, r), s.scores + (r - row) * kTileKeys, s.shift[r], lanes, keys.begin);
    store(s.sum + r * kLanes, load(s.sum + r * kLanes) + total);
  }
}

/// Whether a register tile spans all 64 keys, so that scores can become weights before they leave the registers.
inline constexpr bool kWeighsInRegisters = kTileVecs * kLanes == kTileKeys;

/// What weigh_tile() does beside making weights: nothing, or what the problem's probes ask of keys from `first` on.
struct NoProbes {
  bool want() const { return false; }
  void raise(const Scratch& s, const float* scores, int row, int rows, int padded) const {
    raise_bases(s, scores, row, rows, padded);
  }
  /// Scores x of row r become weights [64]; what they add up to.
  template <class Row>
  [[gnu::always_inline]] Vec weigh(int, const Vec (&x)[kTileVecs], Vec shift, float*, Row weights) const {
    Vec total;
#pragma GCC unroll 8
    for (int j = 0; j < kTileVecs; ++j) {
      const Vec e = exp2((x[j] - shift) * kLog2E);
      weights.put(j, e);
      total = j == 0 ? e : total + e;
    }
    return total;
  }
};
class TileProbes {
 public:
  TileProbes(const Problem& p, const Scratch& s, int first)
      : p_(p), probes_(s.probes), stride_(probe_floats(p)), first_(first), lanes_(lane_numbers()) {}
  /// The first key's score is kept. (Nor are the greatest found here: see weighs_in_registers().)
  bool want() const { return first_ == 0; }
  void raise(const Scratch& s, const float* scores, int row, int rows, int padded) const {
    raise_bases_probed(p_, s, scores, row, rows, padded, first_);
  }
  template <class Row>
  [[gnu::always_inline]] Vec weigh(int r, const Vec (&x)[kTileVecs], Vec shift, float* unrounded, Row weights) const {
    TileSums m;
#pragma GCC unroll 8
    for (int j = 0; j < kTileVecs; ++j) {
      const Vec e = m.weigh(x[j] - shift);
      store(unrounded + j * kLanes, e);
      if constexpr (Row::kRounds) weights.put(j, e);
    }
    add_tile_sums(*p_.probes, {probes_ + r * stride_}, m, unrounded, lanes_, first_);
    return m.total;
  }

 private:
  const Problem& p_;
  float* probes_;
  std::ptrdiff_t stride_;
  int first_;
  Vec lanes_;
};

/// Scores of kTileRows rows from `row` on, then weights [kTileRows, 64], the same bits as through memory. It saves 24
/// loads and 24 stores a tile, and the next tile's products fill what the exponentials leave of the ports: from 10 to
/// 7.7 cycles for 16 scores. `scratch` [kTileRows, 64] is where scores lie when they exceed.
template <class O, bool Masked, class Probes>
inline void weigh_tile(const Problem& p, const Scratch& s, int row, const typename O::Number* keys,
                       const std::uint64_t* bits, float* scratch, typename O::Number* weights, int padded,
                       const Probes& probes) {
  const int dims = round_up(p.head_dim, O::kDims), depth = round_up(p.head_dim, Step<typename O::Number>::kNumbers);
  Vec x[kTileRows][kTileVecs];
  accumulate<Left::Upright>(O::queries(s) + row * dims, dims, keys, kTileKeys, depth, x);
  if (const float factor = O::factor(p); factor != 1)
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < kTileVecs; ++j) x[i][j] = x[i][j] * factor;
  bool exceeds = probes.want();
#pragma GCC unroll 8
  for (int i = 0; i < kTileRows; ++i) {
    if constexpr (Masked)
#pragma GCC unroll 8
      for (int j = 0; j < kTileVecs; ++j) x[i][j] = select(lanes_of(bits[i] >> j * kLanes), x[i][j], minus_infinity());
    Vec most = x[i][0];
#pragma GCC unroll 8
    for (int j = 1; j < kTileVecs; ++j) most = max(most, x[i][j]);
    note_most(s, row + i, most);
    exceeds |= any(Vec(s.bound[row + i]) < most);
  }
  if (__builtin_expect(exceeds, false)) {
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < kTileVecs; ++j) store(scratch + i * kTileKeys + j * kLanes, x[i][j]);
    probes.raise(s, scratch, row, kTileRows, padded);
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < kTileVecs; ++j) x[i][j] = load(scratch + i * kTileKeys + j * kLanes);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kTileRows; ++i) {
    const Vec total = probes.weigh(row + i, x[i], s.shift[row + i], scratch + i * kTileKeys,
                                   typename O::RowOfWeights{weights + i * kTileKeys});
    store(s.sum + (row + i) * kLanes, load(s.sum + (row + i) * kLanes) + total);
  }
}

/// Of some 40 tiles of a row most hold one of its greatest scores so far, which are found in memory.
inline bool weighs_in_registers(const Problem& p) {
  return kWeighsInRegisters && !p.score.self && !(p.probes && p.probes->top > 0);
}

/// Weights [rows, 64] of a strip and a packed tile of keys; bits [kStrip] of its mask, whose cover is known.
/// between(i) is called after the i-th register tile.
template <class O, class F, class Probes>
inline void weigh_in_registers(const Problem& p, const Scratch& s, const typename O::Number* keys, int row, int rows,
                               Cover cover, std::uint64_t* bits, int padded, F between, const Probes& probes) {
  if constexpr (kWeighsInRegisters) {
    const int whole = round_up(rows, kTileRows);
    for (int i = rows; i < whole; ++i) bits[i] = 0;
    const auto weigh = cover == Cover::Full ? weigh_tile<O, false, Probes> : weigh_tile<O, true, Probes>;
    for (int i = 0; i < whole; i += kTileRows) {
      weigh(p, s, row + i, keys, bits + i, s.scores + i * kTileKeys, O::weights(s) + i * kTileKeys, padded, probes);
      between(i / kTileRows);
    }
  }
}

}  // namespace fovea::FOVEA_ISA
