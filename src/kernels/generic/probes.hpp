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
// anyway, exceeds the least that is kept; of random rows that happens some k · ln(n / k) times. (Keeping the cells of
// greatest maximum and scoring their keys again in the end cost 80% at 2,048 keys, moving scores one by one 60%.)
//
// Where scores become weights beside products, such a look would stop them: between register tiles it costs 200 cycles,
// most of them for a branch that is known when the last product is. There scores above the bar, the least that is kept,
// are only put by, beside products that go on meanwhile, and take their places after the tile. (Putting by without a
// branch costs as much, for two stores a vector; all that wait ranked at once, by comparing each with each, no less
// than one after another.)
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/piece.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kTopVecs = RowProbes::kMostTop / kLanes;

/// Keys travel beside scores, in lanes that are moved and never computed with: by their bits, since a float counts no
/// further than 2^24.
inline float lane_of_key(int key) { return __builtin_bit_cast(float, key); }
inline int key_of_lane(float lane) { return __builtin_bit_cast(int, lane); }
/// Keys from `first` on, a lane each.
inline Vec key_lanes(int first) {
  float keys[kLanes];
  for (int j = 0; j < kLanes; ++j) keys[j] = lane_of_key(j);
  return add_integers(load(keys), lane_of_key(first));
}

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
  // Of the rest of the last register tile nothing is kept.
  const int end = row + rows, whole = row + round_up(rows, kTileRows);
  for (int r = row; r < whole && p.probes->top > 0; ++r)
    s.waiting[r] = 0, s.bar[r] = r < end ? minus_infinity() : -minus_infinity();
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

/// Of the scores x [64] some number that at least `top` of them reach: the least of the maxima of so many runs or more.
inline float reached_by_top(const float* x, int top) {
  constexpr int kRuns = RowProbes::kMostTop;
  float most[kRuns];
  for (int j = 0; j < kRuns; j += kLanes) {
    Vec m = load(x + j);
    for (int i = kRuns + j; i < kTileKeys; i += kRuns) m = max(m, load(x + i));
    store(most + j, m);
  }
  int runs = kRuns;
  for (; runs / 2 >= top; runs /= 2)
    for (int i = 0; i < runs / 2; ++i)
      if (most[i] < most[i + runs / 2]) most[i] = most[i + runs / 2];
  float least = most[0];
  for (int i = 1; i < runs; ++i)
    if (most[i] < least) least = most[i];
  return least;
}

/// Scores x [64] of keys from `first` on, some of which exceed the least that is kept.
[[gnu::noinline]] inline void keep_greatest(const RowProbe& probe, int top, const float* x, int first) {
  const float least = probe.kept()[top - 1];
  const Vec bar = least == minus_infinity() ? reached_by_top(x, top) : least;
  Kept kept(probe);
  for (int j = 0; j < kTileKeys; j += kLanes) {
    const Vec now = load(x + j);
    std::uint64_t bits = bits_of(Vec(least) < now) & ~bits_of(now < bar);
    for (; bits != 0; bits &= bits - 1) {
      const int at = j + __builtin_ctzll(bits);
      kept.insert(x[at], lane_of_key(first + at));
    }
  }
  kept.save(probe);
}

/// Scores of a row that were put by, and wait to take their places among the greatest.
struct Queue {
  float* bar;            // the least that is kept
  int* length;           // how many wait
  float *scores, *keys;  // [kMostWaiting]; keys as lane_of_key()

  Queue of_row(int row) const {
    const std::ptrdiff_t at = std::ptrdiff_t{row} * 2 * kMostWaiting;
    return {bar + row, length + row, scores + at, keys + at};
  }
  /// Scores of keys from `first` on: those above the bar join, one behind another.
  [[gnu::always_inline]] void join(Vec x, int first) const {
    const Lanes above = Vec(*bar) < x;
    store(scores + *length, compress(above, x));
    store(keys + *length, compress(above, key_lanes(first)));
    *length += __builtin_popcountll(bits_of(above));
  }
};
inline Queue queue_of(const Scratch& s, int row) {
  return Queue{s.bar, s.waiting, s.queues, s.queues + kMostWaiting}.of_row(row);
}

/// Of n scores that wait, 64 or more, those stay that may be among the greatest; how many.
inline int without_low_ones(const Queue& queue, int n, int top) {
  const Vec bar = reached_by_top(queue.scores, top);
  int left = 0;
  for (int j = 0; j < n; j += kLanes) {
    const Vec x = load(queue.scores + j), key = load(queue.keys + j);
    const std::uint64_t high = ~bits_of(x < bar) & bits_below(at_most(kLanes, n - j));
    store(queue.scores + left, compress(lanes_of(high), x));
    store(queue.keys + left, compress(lanes_of(high), key));
    left += __builtin_popcountll(high);
  }
  return left;
}

/// Those that wait take their places.
[[gnu::noinline]] inline void settle(int top, const RowProbe& probe, const Queue& queue) {
  constexpr int kAtOnce = 8;  // most times there is one round or two, and no end of a loop that comes as a surprise
  int n = *queue.length;
  if (n >= kTileKeys) n = without_low_ones(queue, n, top);
  for (int i = n; i < n + kAtOnce; i += kLanes) store(queue.scores + i, minus_infinity());
  Kept kept(probe);
  for (int i = 0; i < n; i += kAtOnce)
    for (int k = i; k < i + kAtOnce; ++k) kept.insert(queue.scores[k], queue.keys[k]);
  kept.save(probe);
  *queue.bar = probe.kept()[top - 1], *queue.length = 0;
}
/// Rows of a strip of which more than `most` wait.
inline void settle_rows(const Problem& p, const Scratch& s, int row, int rows, int most) {
  if (p.probes->top == 0) return;
  int full[kStrip], count = 0;
  for (int r = row; r < row + rows; ++r) full[count] = r, count += s.waiting[r] > most;
  for (int i = 0; i < count; ++i) settle(p.probes->top, probe_of(p, s, full[i]), queue_of(s, full[i]));
}

/// 0, 1, 2, …
inline Vec lane_numbers() {
  float numbers[kLanes];
  for (int j = 0; j < kLanes; ++j) numbers[j] = static_cast<float>(j);
  return load(numbers);
}

/// What 64 weights e = 2^y of a row come to, a lane each, of scores y that are less the base: Σ e, Σ e·y, and the sums
/// of the first vector, of the first two, …, all but the last, added up: how far weights lie before the tile's end
/// costs no product.
struct TileSums {
  Vec total = 0.0f, surprise = 0.0f, passed = 0.0f;
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

/// Σ e·|i − j| of a tile's weights [64] that lie on both sides of the query, which is `ahead` before the first.
[[gnu::noinline]] inline Vec travelled_around(const float* weights, Vec lanes, float ahead) {
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

/// Whether 64 keys lie on one side of the query, which is `ahead` before the first.
inline bool aside(float ahead) { return ahead >= 0 || ahead <= 1 - kTileKeys; }

/// A row's weights [64] of keys from `first` on join its probe. On one side of the query Σ e·|i − j| is
/// ±(Σ e·(last − i) − Σ e·(last − j)), the latter from TileSums: two products a tile and no weight read again.
[[gnu::always_inline]] inline void add_tile_sums(const RowProbes& ask, const RowProbe& probe, const TileSums& m,
                                                 const float* weights, Vec lanes, int first) {
  if (ask.sums) {
    const float ahead = static_cast<float>(first) - probe.place();
    constexpr float kLast = kTileKeys - kLanes;
    const Vec travelled =
        __builtin_expect(aside(ahead), true)
            ? (m.total * (lanes + (ahead + kLast)) - m.passed * static_cast<float>(kLanes)) * (ahead < 0 ? -1.0f : 1.0f)
            : travelled_around(weights, lanes, ahead);
    store(probe.surprise(), load(probe.surprise()) + m.surprise);
    store(probe.travelled(), load(probe.travelled()) + travelled);
  }
  if (__builtin_expect(ask.segments > 0, false)) add_segments(ask, probe, weights, first);
}

/// A row's scores x [64], from key `first` on, become weights 2^(x − base), which join its probe; what they add up to.
inline Vec weigh_row(const RowProbes& ask, const RowProbe& probe, float* x, Vec base, Vec lanes, int first) {
  TileSums m;
#pragma GCC unroll 16
  for (int j = 0; j < kTileKeys; j += kLanes) store(x + j, m.weigh(load(x + j) - base));
  add_tile_sums(ask, probe, m, x, lanes, first);
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
  for (int k = 0; k < to.top; ++k) {
    const int key = key_of_lane(row.key[k]);
    to.top_weight[at * to.top + k] = key >= 0 ? row.weight(row.kept[k]) : 0;
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
  settle_rows(p, s, row, rows, 0);
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
