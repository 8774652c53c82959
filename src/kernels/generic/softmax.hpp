// The online softmax of a strip: scores, in octaves, become weights 2^(score − base), in place.
//
// The base of a row is its running maximum, or lags behind it by at most kSlack: then it moves, and the output is
// rescaled, once or twice a row, not some log(tiles) times (Milakov & Gimelshein 2018, with a lazy maximum). A base
// that may lag further is no faster, and the rounding of score − base would show in the greatest weights. A row's base
// depends on its own scores alone, never on how rows are grouped.
//
// Cost of 16 scores on AVX-512, in slots of the two FMA ports: mul, max, sub, add, lookup, reduce, add, 2 for the
// powers' square, scalef (2), add = 12, beside 2·head_dim of the products: 9% at head_dim 64. Where additions have
// ports of their own (Zen), 3 and a part of the lookup, and of those ports 9. The weight of the greatest score should
// be 1 exactly, so that a row that sees one key copies its value: base and score are the same number, and no FMA brings
// in what only one of them was rounded by.
#pragma once
#include "kernels/generic/operands.hpp"
#include "kernels/generic/probes.hpp"

namespace fovea::FOVEA_ISA {

/// scores [rows, 64]: the composed functor and octaves, then −∞ where the mask hides.
inline void finish_scores(const Problem& p, const Piece& w, float* scores, int row, int rows, Range range,
                          const std::uint64_t* bits) {
  if (p.score.self)
    for_segments(p, w, row, rows, [&](const Segment& g) {
      p.score.apply[kTier](p.score.self, {scores + (g.row - row) * kTileKeys, kTileKeys, 1, tile_of(w, g, range)});
    });
  const Vec octaves = p.score.self ? in_octaves(1) : 1.0f;
  for (int i = 0; i < rows; ++i) {
    if (bits[i] == kAllBits && !p.score.self) continue;
    float* x = scores + i * kTileKeys;
    for (int j = 0; j < kTileKeys; j += kLanes)
      store(x + j, select(lanes_of(bits[i] >> j), load(x + j) * octaves, minus_infinity()));
  }
}

/// scores [rows, 64] of a strip and a packed tile of keys.
template <class O>
inline void score_strip(const Problem& p, const Piece& w, const Scratch& s, const typename O::Number* keys, int row,
                        int rows, Range range, const std::uint64_t* bits) {
  const int dims = round_up(p.head_dim, O::kDims), depth = round_up(p.head_dim, Step<typename O::Number>::kNumbers);
  product<false>(rows, kTileKeys, depth, O::queries(s) + row * dims, dims, keys, kTileKeys, s.scores, kTileKeys,
                 Alone(), O::factor(p));
  finish_scores(p, w, s.scores, row, rows, range, bits);
}

/// A score of −∞ (from a bias, say) hides its key as a mask does.
inline void hide_minus_infinity(const float* scores, int rows, std::uint64_t* bits) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < kTileKeys; ++j)
      if (scores[i * kTileKeys + j] == minus_infinity()) bits[i] &= ~(std::uint64_t{1} << j);
}

/// A row's base moves up to its greatest score; what it has summed so far shrinks by as much.
inline void raise_base(const Scratch& s, int row, int padded, float base) {
  const float old = s.base[row];
  set_base(s, row, base);
  if (old == minus_infinity()) return;  // nothing summed yet
  const Vec shrink = exp2(old - base);
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
    note_most(s.most + (row + i) * kLanes, most);
    if (any(Vec(s.bound[row + i]) < most)) raise_base(s, row + i, padded, reduce_max(most));
  }
}

/// scores [rows, 64] of rows from `row` on become weights.
inline void softmax_strip(const Scratch& s, float* scores, int row, int rows, int padded) {
  raise_bases(s, scores, row, rows, padded);
  for (int r = row; r < row + rows; ++r) {
    float* x = scores + (r - row) * kTileKeys;
    Vec total = 0.0f;
#pragma GCC unroll 16
    for (int j = 0; j < kTileKeys; j += kLanes) {
      const Vec e = exp2(load(x + j) - s.shift[r]);
      store(x + j, e);
      total = total + e;
    }
    store(s.sum + r * kLanes, load(s.sum + r * kLanes) + total);
  }
}

/// raise_bases(), and what probes keep of scores [rows, 64] of keys from `first` on; their sums shrink as the row's do.
/// Greatest: the greatest are looked for too, not only the first key's.
template <bool Greatest>
[[gnu::noinline]] inline void raise_bases_probed(const Problem& p, const Scratch& s, const float* scores, int row,
                                                 int rows, int padded, int first) {
  for (int i = 0; i < rows; ++i) {
    const int r = row + i;
    const RowProbe probe = probe_of(p, s, r);
    const Vec most = greatest(scores + i * kTileKeys);
    if (first == 0) probe.first() = scores[i * kTileKeys];
    if (Greatest && p.probes->top > 0 && any(Vec(s.bar[r]) < most)) {
      keep_greatest(probe, p.probes->top, scores + i * kTileKeys, first);
      s.bar[r] = probe.kept()[p.probes->top - 1];
    }
    note_most(s.most + r * kLanes, most);
    if (!any(Vec(s.bound[r]) < most)) continue;
    const float base = reduce_max(most);
    shrink_probe(p, probe, s.base[r], base, load(s.sum + r * kLanes));
    raise_base(s, r, padded, base);
  }
}

/// softmax_strip(), and the probes: the same bits in what both compute.
inline void softmax_strip_probed(const Problem& p, const Scratch& s, float* scores, int row, int rows, int padded,
                                 Range keys) {
  settle(p, s);
  raise_bases_probed<true>(p, s, scores, row, rows, padded, keys.begin);
  for (int r = row; r < row + rows; ++r) {
    const Vec total = weigh_row(*p.probes, probe_of(p, s, r), scores + (r - row) * kTileKeys, s.shift[r], keys.begin);
    store(s.sum + r * kLanes, load(s.sum + r * kLanes) + total);
  }
}

/// Whether a register tile spans all 64 keys, so that scores can become weights before they leave the registers.
inline constexpr bool kTileSpansKeys = kTileVecs * kLanes == kTileKeys;

/// What is gathered while scores become weights: their sum, or what the problem's probes ask of keys from `first` on.
struct NoProbes {
  /// Of a row and 64 keys: score by score, each less the base.
  struct Row {
    Vec total;
    void clear() { total = 0.0f; }
    [[gnu::always_inline]] Vec weigh(Vec y) {
      const Vec e = exp2(y);
      total = total + e;
      return e;
    }
    void add_up() {}
  };
  bool want() const { return false; }
  void raise(const Scratch& s, const float* scores, int row, int rows, int padded) const {
    raise_bases(s, scores, row, rows, padded);
  }
  bool reads_weights() const { return false; }
  void compare(int, Vec) const {}
  void put_by(int, const float*) const {}
  void finish(int, const Row&, const float*) const {}
};
class TileProbes {
 public:
  using Row = TileSums;
  TileProbes(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, int first)
      : p_(p),
        probes_(s.probes),
        stride_(probe_floats(p)),
        row_(row),
        first_(first),
        side_(side_of_strip(p, w, row, rows, first)),
        segments_(p.probes->segments > 0),
        greatest_(p.probes->top > 0),
        bar_(s.bar + row),
        shelf_(s.shelf) {}
  /// The first key's score is kept.
  bool want() const { return first_ == 0; }
  void raise(const Scratch& s, const float* scores, int row, int rows, int padded) const {
    raise_bases_probed<false>(p_, s, scores, row, rows, padded, first_);
  }
  /// Whether weights are to lie in memory as f32.
  bool reads_weights() const { return segments_ || side_ == kAround; }
  /// Whether the strip's row r, with these greatest scores [kLanes] of the tile, has some to be kept.
  [[gnu::always_inline]] void compare(int r, Vec most) const {
    if (greatest_) shelf_.hits[r] = any(Vec(bar_[r]) < most);
  }
  /// Row r's scores [64] are put by if it has: without a branch, for that would be foreseen wrong.
  [[gnu::always_inline]] void put_by(int r, const float* scores) const {
    if (!greatest_) return;
    const int at = *shelf_.count;
    shelf_.rows[at] = row_ + r, shelf_.first_keys[at] = first_;
    float* to = shelf_.scores + at * kTileKeys;
#pragma GCC unroll 16
    for (int j = 0; j < kTileKeys; j += kLanes) store(to + j, load(scores + j));
    *shelf_.count = at + shelf_.hits[r];
  }
  [[gnu::always_inline]] void finish(int r, const Row& sums, const float* weights) const {
    add_tile_sums(*p_.probes, {probes_ + r * stride_}, sums, weights, side_, first_);
  }

 private:
  const Problem& p_;
  float* probes_;
  std::ptrdiff_t stride_;
  int row_, first_, side_;
  bool segments_, greatest_;
  const float* bar_;
  Shelf shelf_;
};

/// The rows of a strip, by what their register tiles read and write. Of its own, for what is reached by way of Scratch
/// or Problem is read again after every store: 1% on pairs of bf16.
template <class O>
struct StripRows {
  const typename O::Number* queries;  // [rows, dims]
  float* scores;                      // [rows, 64]
  typename O::Number* weights;        // likewise; where scores are, if O says so
  const float *bound, *shift;         // [rows]
  float *most, *sum;                  // [rows, kLanes]
  int dims, depth;
  float factor;

  StripRows(const Problem& p, const Scratch& s, int row)
      : queries(O::queries(s) + std::ptrdiff_t{row} * round_up(p.head_dim, O::kDims)),
        scores(s.scores),
        weights(O::weights(s)),
        bound(s.bound + row),
        shift(s.shift + row),
        most(s.most + row * kLanes),
        sum(s.sum + row * kLanes),
        dims(round_up(p.head_dim, O::kDims)),
        depth(round_up(p.head_dim, Step<typename O::Number>::kNumbers)),
        factor(O::factor(p)) {}
};

/// The rows of a register tile whose scores lie in memory become weights, two vectors of a row at a time.
template <class O, class Probes>
struct Weigh {
  static constexpr int kTimes = kTileRows, kParts = kTileKeys / kLanes / 2;
  StripRows<O> strip;
  Probes probes;
  int row, at;                // of the piece the strip's first, of the strip the tile's first
  typename Probes::Row sums;  // of the row at hand

  [[gnu::always_inline]] void operator()(int i, int part) {
    const int r = at + i, first = r * kTileKeys + part * 2 * kLanes;
    const Vec shift = strip.shift[r];
    const bool kept = !O::kWeightsAreScores && __builtin_expect(probes.reads_weights(), false);
    if (part == 0) sums.clear(), probes.put_by(r, strip.scores + r * kTileKeys);
    Vec weight[2];
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const int j = first + k * kLanes;
      weight[k] = sums.weigh(load(strip.scores + j) - shift);
      if (kept) store(strip.scores + j, weight[k]);
    }
    O::put_weights(strip.weights + first, weight[0], weight[1]);
    sums.add_up();
    if (part < kParts - 1) return;
    probes.finish(row + r, sums, strip.scores + r * kTileKeys);
    store(strip.sum + r * kLanes, load(strip.sum + r * kLanes) + sums.total);
  }
  /// All at once, beside nothing.
  void whole() {
    for (int i = 0; i < kTimes; ++i)
      for (int part = 0; part < kParts; ++part) (*this)(i, part);
  }
};

/// Scores [kTileRows, 64] of rows from `first` of a strip on; whether some exceed their bounds.
template <class O, bool Masked, class Probes, class F>
[[gnu::always_inline]] inline bool score_tile(const StripRows<O>& strip, int first, const typename O::Number* keys,
                                              const std::uint64_t* bits, const Probes& probes, const F& beside) {
  Vec x[kTileRows][kTileVecs];
  accumulate<Left::Upright>(strip.queries + first * strip.dims, strip.dims, keys, kTileKeys, strip.depth, x, beside);
  const Vec factor = strip.factor;
  bool exceeds = false;
#pragma GCC unroll 8
  for (int i = 0; i < kTileRows; ++i) {
    Vec most = minus_infinity();
    const int r = first + i;
#pragma GCC unroll 8
    for (int j = 0; j < kTileVecs; ++j) {
      x[i][j] = x[i][j] * factor;
      if constexpr (Masked) x[i][j] = select(lanes_of(bits[r] >> j * kLanes), x[i][j], minus_infinity());
      most = j == 0 ? x[i][j] : max(most, x[i][j]);
      store(strip.scores + r * kTileKeys + j * kLanes, x[i][j]);
    }
    note_most(strip.most + r * kLanes, most);
    exceeds |= any(Vec(strip.bound[r]) < most);
    probes.compare(r, most);
  }
  return exceeds;
}

inline bool weighs_beside(const Problem& p) { return kTileSpansKeys && !p.score.self; }

/// Each register tile's scores become weights beside the next one's products, the last tile's stay scores. Two vectors
/// after every other step or so: exponentials need the ports of additions as much as those of FMAs, and would leave the
/// latter half idle. Four at a time fill the schedulers with chains that wait (Zen 5: 8 to 10% slower on bf16
/// products).
template <class O, bool Masked, class Probes>
[[gnu::noinline]] inline void weigh_strip(const Problem& p, const Scratch& s, const typename O::Number* keys, int row,
                                          int rows, const std::uint64_t* bits, int padded, const Probes& probes) {
  const StripRows<O> strip(p, s, row);
  const auto raise = [&](int first, bool exceeds) {
    if (__builtin_expect(exceeds || probes.want(), false))
      probes.raise(s, s.scores + first * kTileKeys, row + first, kTileRows, padded);
  };
  raise(0, score_tile<O, Masked>(strip, 0, keys, bits, probes, Alone()));
  Weigh<O, Probes> weigh{strip, probes, row, 0, {}};
  for (int i = kTileRows; i < rows; i += kTileRows, weigh.at += kTileRows)
    raise(i, score_tile<O, Masked>(strip, i, keys, bits, probes, weigh));
}

/// Weights [rows, 64] of a strip and a packed tile of keys, but scores of its last register tile; bits [kStrip] of its
/// mask, whose cover is known.
template <class O, class Probes>
inline void weigh_beside(const Problem& p, const Scratch& s, const typename O::Number* keys, int row, int rows,
                         Cover cover, std::uint64_t* bits, int padded, const Probes& probes) {
  const int whole = round_up(rows, kTileRows);
  for (int i = rows; i < whole; ++i) bits[i] = 0;
  const auto weigh = cover == Cover::Full ? weigh_strip<O, false, Probes> : weigh_strip<O, true, Probes>;
  weigh(p, s, keys, row, whole, bits, padded, probes);
}
/// The last register tile's, which weigh_beside() leaves scores.
template <class O, class Probes>
inline Weigh<O, Probes> last_weights(const Problem& p, const Scratch& s, int row, int rows, const Probes& probes) {
  return {StripRows<O>(p, s, row), probes, row, round_up(rows, kTileRows) - kTileRows, {}};
}

}  // namespace fovea::FOVEA_ISA
