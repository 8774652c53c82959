// What a pass gathers of each row besides LSE and the greatest score, while its scores are at hand: entropy, distance,
// the first key's weight, the mass of segments of keys, and the greatest weights. The forward pass does so with a base
// that rises, the second pass (trace.hpp) with the row's LSE for a base: the same sums, and the same ends of them.
//
// Entropy online (docs/look.md): with t = Σ 2^(s − base)·(s − base) of scores in octaves, H = ln l − ln 2·t/l; when the
// base rises by δ, all sums shrink by α = 2^−δ and t ← α·(t − δ·l). Cost of 16 scores beside the 12 slots of the
// softmax and 4·head_dim/2 of the products: 2 for t, 1 for the distance, 1 for the maximum, 1 for each segment.
//
// The greatest are kept in order, in registers while a tile is looked at: one more is put in its place by two
// comparisons and two blends, without a branch. A tile is looked at only where its maximum, which the softmax wants
// anyway, exceeds the bar, the least that is kept; of random rows that happens some k · ln(n / k) times. (Keeping the
// cells of greatest maximum and scoring their keys again in the end cost 80% at 2,048 keys, moving scores one by one
// 60%.)
//
// Where scores become weights beside products, such a look would stop them: a branch on scores that are just made costs
// 200 cycles when it is foreseen wrong. There a tile with a score above the bar is put by as a whole, beside products
// that go on meanwhile: its 64 scores are copied for every row to the same place, which moves on where there was such
// a score. At the end of a block of keys those tiles are looked at, first all for which of their scores reach the bar,
// then these take their places: so that no branch waits for a comparison. By then a row that had no bar yet has one
// for nothing, the maxima of its 16 lanes. (Single scores put by, one behind another, and settled after each tile:
// top-8 1.21 beside the plain pass, not 1.10, on pairs of bf16 1.51, not 1.24. A place of its own for every row's
// tiles, which are more lines than L1 has left: 1.13.)
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/piece.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kTopVecs = RowProbes::kMostTop / kLanes;

/// Keys travel beside scores, in lanes that are moved and never computed with: by their bits, since a float counts no
/// further than 2^24.
inline float lane_of_key(int key) { return __builtin_bit_cast(float, key); }
inline int key_of_lane(float lane) { return __builtin_bit_cast(int, lane); }

/// Of one row, in Scratch::probes [rows, probe_floats(p)]: sums a lane each, then single numbers.
struct RowProbe {
  float* at;
  float* surprise() const { return at; }
  float* travelled() const { return at + kLanes; }
  float* kept() const { return at + 2 * kLanes; }                       // [kMostTop] greatest scores, descending
  float* key() const { return at + 2 * kLanes + RowProbes::kMostTop; }  // [kMostTop] theirs, as lane_of_key(); −1: none
  float* numbers() const { return at + 2 * kLanes + 2 * RowProbes::kMostTop; }
  float& first() const { return numbers()[0]; }                         // score of key 0
  float& place() const { return numbers()[1]; }                         // which query this is
  float* segment(int i) const { return numbers() + kLanes * (i + 1); }  // [kLanes]
};
static_assert(kLanes >= 2 && RowProbes::kMostTop % kLanes == 0);
inline RowProbe probe_of(const Problem& p, const Scratch& s, int row) {
  return {s.probes + std::ptrdiff_t{row} * probe_floats(p)};
}

inline void begin_probe(const Problem& p, const RowProbe& probe, int query) {
  for (int i = 0; i < probe_floats(p); ++i) probe.at[i] = 0;
  for (int k = 0; k < RowProbes::kMostTop; ++k) probe.kept()[k] = minus_infinity(), probe.key()[k] = lane_of_key(-1);
  probe.first() = minus_infinity(), probe.place() = static_cast<float>(query);
}
inline void begin_probes(const Problem& p, const Piece& w, const Scratch& s, int row, int rows) {
  if (!p.probes) return;
  // Rows of the rest of the last register tile are computed with the others, and nothing of them is kept.
  const int end = row + rows, whole = row + round_up(rows, kTileRows);
  for (int r = end; r < whole; ++r) begin_probe(p, probe_of(p, s, r), 0);
  for (int r = row; r < whole && p.probes->top > 0; ++r) s.bar[r] = r < end ? minus_infinity() : -minus_infinity();
  if (p.probes->top > 0) *s.shelf.count = 0;
  for_segments(p, w, row, rows, [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) begin_probe(p, probe_of(p, s, g.row + i), g.query + i);
  });
}

/// The row's base rises from `old`, and its sum [kLanes] has not shrunk yet.
inline void shrink_probe(const Problem& p, const RowProbe& probe, float old, float base, Vec sum) {
  if (old == minus_infinity()) return;
  const float rise = base - old;
  const Vec shrink = exp2(-rise);
  store(probe.surprise(), (load(probe.surprise()) - sum * rise) * shrink);
  store(probe.travelled(), load(probe.travelled()) * shrink);
  for (int i = 0; i < p.probes->segments; ++i) store(probe.segment(i), load(probe.segment(i)) * shrink);
}

/// The greatest scores of a row and their keys, in registers.
struct Kept {
  Vec score[kTopVecs], key[kTopVecs];
  explicit Kept(const RowProbe& probe) {
    for (int v = 0; v < kTopVecs; ++v)
      score[v] = load(probe.kept() + v * kLanes), key[v] = load(probe.key() + v * kLanes);
  }
  void save(const RowProbe& probe) const {
    for (int v = 0; v < kTopVecs; ++v)
      store(probe.kept() + v * kLanes, score[v]), store(probe.key() + v * kLanes, key[v]);
  }
  /// Those below x move down by one, and the last falls out. Of equals the first to come stays first.
  void insert(Vec x, Vec k) {
    Vec above = -minus_infinity(), above_key = 0.0f;
    for (int v = 0; v < kTopVecs; ++v) {
      const Vec old = score[v], old_key = key[v], down = after(old, above);
      const Lanes moves = old < x, comes = down < x;  // those that move; those to which one that moves comes
      score[v] = select(moves, select(comes, down, x), old);
      key[v] = select(moves, select(comes, after(old_key, above_key), k), old_key);
      above = old, above_key = old_key;
    }
  }
};

/// A number that at least `top` of the scores reach whose runs have these maxima: the top-th greatest of them.
inline float reached_by_top(const Vec (&most)[kTopVecs], int top) {
  float each[RowProbes::kMostTop];
  for (int v = 0; v < kTopVecs; ++v) store(each + v * kLanes, most[v]);
  Vec bar = minus_infinity();
  for (int v = 0; v < kTopVecs; ++v) {
    Vec reaching = 0.0f;  // maxima that reach this one
    for (const float x : each) reaching = select(Vec(x) < most[v], reaching, reaching + 1.0f);
    bar = max(bar, select(reaching < static_cast<float>(top), bar, most[v]));
  }
  return reduce_max(bar);
}

/// Scores x [64] of keys from `first` on, of which `bits` may be kept.
inline void keep(Kept* kept, const float* x, std::uint64_t bits, int first) {
  for (; bits != 0; bits &= bits - 1) {
    const int at = __builtin_ctzll(bits);
    kept->insert(x[at], lane_of_key(first + at));
  }
}
/// Which of scores x [64] exceed `bar`, and which are not below it. (A NaN is none of the greatest: insert() finds no
/// place for it.)
inline std::uint64_t exceeding(const float* x, Vec bar) {
  std::uint64_t above = 0;
  for (int j = 0; j < kTileKeys; j += kLanes) above |= bits_of(bar < load(x + j)) << j;
  return above;
}
inline std::uint64_t reaching(const float* x, Vec bar) {
  std::uint64_t below = 0;
  for (int j = 0; j < kTileKeys; j += kLanes) below |= bits_of(load(x + j) < bar) << j;
  return ~below;
}

/// Scores x [64] of keys from `first` on, some of which exceed the least that is kept.
[[gnu::noinline]] inline void keep_greatest(const RowProbe& probe, int top, const float* x, int first) {
  float bar = probe.kept()[top - 1];
  if (bar == minus_infinity()) {
    Vec most[kTopVecs];
    for (int j = 0; j < kTileKeys; j += kLanes) {
      Vec& run = most[j / kLanes % kTopVecs];
      run = j < RowProbes::kMostTop ? load(x + j) : max(run, load(x + j));
    }
    bar = reached_by_top(most, top);
  }
  Kept kept(probe);
  keep(&kept, x, reaching(x, bar), first);
  kept.save(probe);
}

/// What was put by takes its places among the greatest.
[[gnu::noinline]] inline void settle(const Problem& p, const Scratch& s) {
  const int top = p.probes->top;
  if (top == 0) return;
  const Shelf& shelf = s.shelf;
  const int n = *shelf.count;
  for (int i = 0; i < n; ++i) {
    float& bar = s.bar[shelf.rows[i]];
    if (__builtin_expect(bar == minus_infinity(), false)) {
      Vec most[kTopVecs];
      for (int v = 0; v < kTopVecs; ++v) most[v] = v == 0 ? load(s.most + shelf.rows[i] * kLanes) : minus_infinity();
      bar = reached_by_top(most, top);
    }
    shelf.candidates[i] = reaching(shelf.scores + i * kTileKeys, bar);
  }
  for (int i = 0; i < n; ++i) {
    const RowProbe probe = probe_of(p, s, shelf.rows[i]);
    const float* x = shelf.scores + i * kTileKeys;
    std::uint64_t bits = shelf.candidates[i];
    // Of many that are equal the first will do.
    if (__builtin_popcountll(bits) > RowProbes::kMostTop) bits &= exceeding(x, probe.kept()[top - 1]);
    Kept kept(probe);
    keep(&kept, x, bits, shelf.first_keys[i]);
    kept.save(probe);
    s.bar[shelf.rows[i]] = probe.kept()[top - 1];
  }
  *shelf.count = 0;
}

/// 0, 1, 2, …
struct LaneNumbers {
  alignas(64) float at[kLanes];
};
inline constexpr LaneNumbers kLaneNumbers = [] {
  LaneNumbers numbers{};
  for (int j = 0; j < kLanes; ++j) numbers.at[j] = static_cast<float>(j);
  return numbers;
}();
inline Vec lane_numbers() { return load(kLaneNumbers.at); }

/// What 64 weights e = 2^y of a row come to, a lane each, of scores y that are less the base: Σ e, Σ e·y, and the sums
/// of the first vector, of the first two, …, all but the last, added up: how far weights lie before the tile's end
/// costs no product.
struct TileSums {
  Vec total, surprise, passed;
  void clear() { total = surprise = passed = 0.0f; }
  /// 2^y of the next vector, counted.
  [[gnu::always_inline]] Vec weigh(Vec y) {
    const Vec unreached = -200.0f;  // 2^−200 is 0, and 0 · −200 is no NaN
    const Vec e = exp2(y);
    passed = passed + total;
    total = total + e;
    surprise = fma(e, max(unreached, y), surprise);
    return e;
  }
  /// What is known so far is added up now: left for later, its terms would take the registers that products need.
  [[gnu::always_inline]] void add_up() { pin(total), pin(surprise), pin(passed); }
};

/// On which side of its query a tile of keys lies: all of it before, all after, or neither.
inline constexpr int kBefore = -1, kAround = 0, kAfter = 1;
inline int side_of(int query, int first) {
  return query <= first ? kAfter : query >= first + kTileKeys - 1 ? kBefore : kAround;
}
/// … of all queries of a strip; kAround also where they differ.
inline int side_of_strip(const Problem& p, const Piece& w, int row, int rows, int first) {
  bool before = true, after = true;
  for_segments(p, w, row, rows, [&](const Segment& g) {
    before = before && side_of(g.query, first) == kBefore;
    after = after && side_of(g.query + g.rows - 1, first) == kAfter;
  });
  return before ? kBefore : after ? kAfter : kAround;
}

/// Σ e·|i − j| of a tile's weights [64] whose first key is `ahead` after the query. On one side that is
/// ±(Σ e·(last − i) − Σ e·(last − j)), the latter from TileSums: two products a tile and no weight read again.
[[gnu::always_inline]] inline Vec travelled_aside(const TileSums& m, float ahead, float side) {
  constexpr float kLast = kTileKeys - kLanes;
  return (m.total * (lane_numbers() + (ahead + kLast)) - m.passed * static_cast<float>(kLanes)) * side;
}
[[gnu::noinline]] inline Vec travelled_around(const float* weights, float ahead) {
  const Vec lanes = lane_numbers();
  Vec travelled = 0.0f;
  for (int j = 0; j < kTileKeys; j += kLanes) {
    const Vec gap = lanes + (ahead + static_cast<float>(j));
    travelled = fma(load(weights + j), max(gap, Vec(0.0f) - gap), travelled);
  }
  return travelled;
}
[[gnu::noinline]] inline void add_segments(const RowProbes& ask, const RowProbe& probe, const float* weights,
                                           int first) {
  for (int i = 0; i < ask.segments; ++i) {
    const float* shares = ask.share + i * ask.share_stride + first;
    Vec mass = load(probe.segment(i));
    for (int j = 0; j < kTileKeys; j += kLanes) mass = fma(load(weights + j), load(shares + j), mass);
    store(probe.segment(i), mass);
  }
}

/// A row's weights [64] of keys from `first` on join its probe; `side`, where they lie, kAround where that is not
/// known.
[[gnu::always_inline]] inline void add_tile_sums(const RowProbes& ask, const RowProbe& probe, const TileSums& m,
                                                 const float* weights, int side, int first) {
  if (ask.sums) {
    const float ahead = static_cast<float>(first) - probe.place();
    if (__builtin_expect(side == kAround, false)) side = side_of(static_cast<int>(probe.place()), first);
    const Vec travelled = __builtin_expect(side != kAround, true) ? travelled_aside(m, ahead, static_cast<float>(side))
                                                                  : travelled_around(weights, ahead);
    store(probe.surprise(), load(probe.surprise()) + m.surprise);
    store(probe.travelled(), load(probe.travelled()) + travelled);
  }
  if (__builtin_expect(ask.segments > 0, false)) add_segments(ask, probe, weights, first);
}

/// A row's scores x [64], from key `first` on, become weights 2^(x − base), which join its probe; what they add up to.
inline Vec weigh_row(const RowProbes& ask, const RowProbe& probe, float* x, Vec base, int first) {
  TileSums m;
  m.clear();
#pragma GCC unroll 16
  for (int j = 0; j < kTileKeys; j += kLanes) store(x + j, m.weigh(load(x + j) - base));
  add_tile_sums(ask, probe, m, x, kAround, first);
  return m.total;
}

// ------------------------------------------------------------------------------------------------- ends of the sums

/// H = ln l − ln 2·t/l of what weights 2^(s − base) add up to, a sink among them.
inline float entropy_of(float l, float t) {
  const float entropy = __builtin_logf(l) - t * static_cast<float>(kLn2) / l;
  return entropy < 0 ? 0 : entropy;  // rounding; a NaN stays
}
inline float exp2_of(float x) {
  float lanes[kLanes];
  store(lanes, exp2(x));
  return lanes[0];
}

/// What one row has gathered over all its keys.
struct RowTotals {
  float l, base, surprise, travelled, first;
  const float *kept, *key;  // [kMostTop]
  float weight(float score) const { return exp2_of(score - base) / l; }
};

/// The greatest weights of a row, heaviest first. −1 where there are fewer.
inline void write_top(const RowProbes& to, const RowTotals& row, std::int64_t at) {
  float weight[RowProbes::kMostTop];
  for (int k = 0; k < RowProbes::kMostTop; k += kLanes) store(weight + k, exp2(load(row.kept + k) - row.base) / row.l);
  for (int k = 0; k < to.top; ++k) {
    const int key = key_of_lane(row.key[k]);
    to.top_weight[at * to.top + k] = key >= 0 ? weight[k] : 0;
    to.top_key[at * to.top + k] = key;
  }
}
/// `segment(i)` is what the i-th has summed.
template <class F>
inline void write_probe(const RowProbes& to, const RowTotals& row, F segment, std::int64_t at) {
  const bool sees = row.l != 0;
  if (to.sums) {
    to.entropy[at] = sees ? entropy_of(row.l, row.surprise) : 0;
    to.distance[at] = sees ? row.travelled / row.l : 0;
    to.first[at] = sees ? row.weight(row.first) : 0;
  }
  for (int i = 0; i < to.segments; ++i) to.segment_mass[at * to.segments + i] = sees ? segment(i) / row.l : 0;
  if (to.top > 0) write_top(to, row, at);
}

/// Rows that finish_rows() has finished.
inline void finish_probes(const Problem& p, const Piece& w, const Scratch& s, int row, int rows) {
  if (!p.probes) return;
  for_segments(p, w, row, rows, [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const int r = g.row + i;
      const RowProbe probe = probe_of(p, s, r);
      const std::int64_t at = p.lse_offset(w.batch, g.head, g.query + i);
      const RowTotals all{reduce_add(load(s.sum + r * kLanes)),
                          s.base[r],
                          reduce_add(load(probe.surprise())),
                          reduce_add(load(probe.travelled())),
                          probe.first(),
                          probe.kept(),
                          probe.key()};
      write_probe(
          *p.probes, all, [&](int k) { return reduce_add(load(probe.segment(k))); }, at);
    }
  });
}

// ----------------------------------------------------------------------------------------------------- runs of keys

/// What one run of keys knows of a row, [split_probe_floats(p)], and such runs joined: `from`, whose weights sum to
/// `l`, joins a row whose base is higher than its own by `rise`.
inline void save_probe(const Problem& p, const RowProbe& probe, float* to) {
  *to++ = reduce_add(load(probe.surprise()));
  *to++ = reduce_add(load(probe.travelled()));
  *to++ = probe.first();
  for (int k = 0; k < 2 * RowProbes::kMostTop; ++k) *to++ = probe.kept()[k];
  for (int i = 0; i < p.probes->segments; ++i) *to++ = reduce_add(load(probe.segment(i)));
}
inline void join_probe(const Problem& p, const RowProbe& probe, const float* from, float l, float rise) {
  const float shrink = exp2_of(-rise);
  probe.surprise()[0] += (from[0] - rise * l) * shrink;
  probe.travelled()[0] += from[1] * shrink;
  if (probe.first() < from[2]) probe.first() = from[2];
  const float *kept = from + 3, *key = kept + RowProbes::kMostTop, *segment = key + RowProbes::kMostTop;
  Kept all(probe);
  for (int k = 0; k < p.probes->top && key_of_lane(key[k]) >= 0; ++k) all.insert(kept[k], key[k]);
  all.save(probe);
  for (int i = 0; i < p.probes->segments; ++i) probe.segment(i)[0] += segment[i] * shrink;
}

}  // namespace fovea::FOVEA_ISA
