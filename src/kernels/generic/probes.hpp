// What the forward pass gathers of each row besides LSE while its scores are at hand: entropy, distance, the first
// key's weight, and the greatest scores.
//
// Entropy online (docs/look.md): with t = Σ e^(s − base)·(s − base), H = ln l − t/l; when the base rises by δ, all sums
// shrink by α = e^−δ and t ← α·t − δ·(α·l). Cost of 16 scores beside the 13 slots of the softmax and 4·head_dim/2 of
// the products: 2 for t, 5 for the distance, 1 for the maximum.
//
// The k greatest are kept in order. A tile holds one of them only where its maximum, which the softmax wants anyway,
// exceeds the least that is kept; of random rows that happens some k · ln(n / k) times. (Keeping the cells of greatest
// maximum and scoring their keys again in the end cost 80% at 2,048 keys.)
#pragma once
#include "kernels/generic/softmax.hpp"

namespace fovea::FOVEA_ISA {

/// Of one row, in Scratch::probes [rows, kProbeFloats]: sums a lane each, then single numbers.
struct RowProbe {
  float* at;
  float* surprise() const { return at; }
  float* travelled() const { return at + kLanes; }
  float* most() const { return at + 2 * kLanes; }
  float& first() const { return at[3 * kLanes]; }      // score of key 0
  float& place() const { return at[3 * kLanes + 1]; }  // which query this is
  float& least() const { return at[3 * kLanes + 2]; }  // of the cells kept
  float* kept() const { return at + 3 * kLanes + 3; }  // [kMostTop] the greatest scores, descending
  float* key() const { return at + 3 * kLanes + 3 + RowProbes::kMostTop; }  // [kMostTop] theirs; −1: none
};
inline RowProbe probe_of(const Scratch& s, int row) { return {s.probes + row * kProbeFloats}; }

inline void begin_probes(const Problem& p, const Piece& w, const Scratch& s, int row, int rows) {
  if (!p.probes) return;
  for_segments(p, w, row, rows, [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const RowProbe probe = probe_of(s, g.row + i);
      for (int j = 0; j < 2 * kLanes; ++j) probe.at[j] = 0;
      store(probe.most(), minus_infinity());
      probe.first() = probe.least() = minus_infinity();
      probe.place() = static_cast<float>(g.query + i);
      for (int k = 0; k < RowProbes::kMostTop; ++k) probe.kept()[k] = minus_infinity(), probe.key()[k] = -1;
    }
  });
}

/// The row's base rose from `old` (its sum has shrunk already).
inline void shrink_probe(const Scratch& s, int row, float old) {
  if (old == minus_infinity()) return;
  const float rise = s.base[row] - old;
  const RowProbe probe = probe_of(s, row);
  const Vec shrink = exp2(Vec(-rise) * kLog2E);
  store(probe.surprise(), load(probe.surprise()) * shrink - load(s.sum + row * kLanes) * rise);
  store(probe.travelled(), load(probe.travelled()) * shrink);
}

/// Some score of a tile [64] exceeds the least that is kept. Of equals the first key stays first.
inline void keep_greatest(const RowProbe& probe, int top, const float* x, int first) {
  float least = probe.least();
  for (int j = 0; j < kTileKeys; j += kLanes) {
    if (!any(Vec(least) < load(x + j))) continue;
    for (int lane = j; lane < j + kLanes; ++lane) {
      if (!(least < x[lane])) continue;
      int k = top - 1;
      for (; k > 0 && probe.kept()[k - 1] < x[lane]; --k)
        probe.kept()[k] = probe.kept()[k - 1], probe.key()[k] = probe.key()[k - 1];
      probe.kept()[k] = x[lane], probe.key()[k] = static_cast<float>(first + lane);
      least = probe.kept()[top - 1];
    }
  }
  probe.least() = least;
}

/// softmax_strip(), and the probes: the same bits in what both compute.
inline void softmax_strip_probed(const Problem& p, const Scratch& s, int row, int rows, int padded, Range keys) {
  constexpr int kVecs = kTileKeys / kLanes;
  float steps[kLanes];
  for (int j = 0; j < kLanes; ++j) steps[j] = static_cast<float>(keys.begin + j);
  const Vec numbers = load(steps), unreached = -200.0f;  // e^−200 is 0, and 0 · −200 is no NaN
  for (int r = row; r < row + rows; ++r) {
    float* x = s.scores + (r - row) * kTileKeys;
    const RowProbe probe = probe_of(s, r);
    Vec most = load(x);
#pragma GCC unroll 16
    for (int j = 1; j < kVecs; ++j) most = max(most, load(x + j * kLanes));
    store(probe.most(), max(load(probe.most()), most));
    if (keys.begin == 0) probe.first() = x[0];
    if (p.probes->top > 0 && any(Vec(probe.least()) < most)) keep_greatest(probe, p.probes->top, x, keys.begin);
    if (any(Vec(s.bound[r]) < most)) {
      const float old = s.base[r];
      raise_base(s, r, padded, reduce_max(most));
      shrink_probe(s, r, old);
    }
    const Vec base = s.shift[r];
    const Vec apart = numbers - probe.place();
    Vec total = 0.0f, surprise = load(probe.surprise()), travelled = load(probe.travelled());
#pragma GCC unroll 16
    for (int j = 0; j < kVecs; ++j) {
      const Vec y = load(x + j * kLanes) - base, e = exp2(y * kLog2E);
      store(x + j * kLanes, e);
      total = total + e;
      surprise = fma(e, max(unreached, y), surprise);
      const Vec gap = apart + static_cast<float>(j * kLanes);
      travelled = fma(e, max(gap, Vec(0.0f) - gap), travelled);
    }
    store(s.sum + r * kLanes, load(s.sum + r * kLanes) + total);
    store(probe.surprise(), surprise), store(probe.travelled(), travelled);
  }
}

/// The greatest weights of a row, heaviest first. −1 where there are fewer.
inline void write_top(const Problem& p, const RowProbe& probe, float lse, std::int64_t at) {
  const int top = p.probes->top;
  float weights[RowProbes::kMostTop];
  for (int k = 0; k < RowProbes::kMostTop; k += kLanes) {
    float a[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) a[lane] = probe.kept()[at_most(k + lane, RowProbes::kMostTop - 1)];
    store(a, exp2((load(a) - lse) * kLog2E));
    for (int lane = 0; lane < kLanes && k + lane < RowProbes::kMostTop; ++lane) weights[k + lane] = a[lane];
  }
  for (int k = 0; k < top; ++k) {
    const bool there = probe.key()[k] >= 0;
    p.probes->top_weight[at * top + k] = there ? weights[k] : 0;
    p.probes->top_key[at * top + k] = there ? static_cast<int>(probe.key()[k]) : -1;
  }
}

/// Rows that finish_rows() has finished.
inline void finish_probes(const Problem& p, const Piece& w, const Scratch& s, int row, int rows) {
  if (!p.probes) return;
  const RowProbes& to = *p.probes;
  for_segments(p, w, row, rows, [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const int r = g.row + i;
      const RowProbe probe = probe_of(s, r);
      const std::int64_t at = p.lse_offset(w.batch, g.head, g.query + i);
      const float l = reduce_add(load(s.sum + r * kLanes)), lse = p.lse[at];
      const bool sees = l != 0;
      const float entropy = sees ? __builtin_logf(l) - reduce_add(load(probe.surprise())) / l : 0;
      to.entropy[at] = entropy < 0 ? 0 : entropy;  // rounding; a NaN stays
      to.distance[at] = sees ? reduce_add(load(probe.travelled())) / l : 0;
      to.most[at] = l != l ? l : reduce_max(load(probe.most()));
      float first[kLanes];
      store(first, exp2((Vec(probe.first()) - (sees ? lse : 0.0f)) * kLog2E));
      to.first[at] = first[0];
      if (to.top > 0) write_top(p, probe, sees ? lse : 0.0f, at);
    }
  });
}

}  // namespace fovea::FOVEA_ISA
