// The online softmax of transposed scores: keys down, queries across the lanes, so nothing is added up across a vector.
//
// The same state and the same rule as in softmax.hpp: a query's base moves to its greatest score where that exceeds it
// by more than kSlack, and what the query has summed shrinks; weights go out as pairs of keys, rounded to bf16 or in
// parts of it, while the denominator sums them unrounded (rounded ones would leave 3e-3 in LSE).
#pragma once
#include <fovea/dtype.hpp>

#include "kernels/generic/probes.hpp"
#include "kernels/generic/split_floats.hpp"

namespace fovea::FOVEA_ISA {

/// bits [64], a word a row, becomes its transpose (Warren, Hacker's Delight, 7-3: halves of halves change places).
inline void transpose_bits(std::uint64_t* bits) {
  std::uint64_t low = 0x00000000ffffffffu;
  for (int half = 32; half != 0; half >>= 1, low ^= low << half)
    for (int k = 0; k < 64; k = ((k | half) + 1) & ~half) {
      const std::uint64_t swap = ((bits[k] >> half) ^ bits[k | half]) & low;
      bits[k] ^= swap << half, bits[k | half] ^= swap;
    }
}

/// What a strip of kColumns queries gathers, see probes.hpp: sums with queries in the lanes, and the rest a query at a
/// time.
struct ColumnProbes {
  const Problem& p;
  float* sums;  // [3 + segments, kColumns]: surprise, travelled, place, segments
  float* rows;  // [kColumns, probe_floats(p)]: of RowProbe the greatest, and the first key's score

  float* surprise() const { return sums; }
  float* travelled() const { return sums + kColumns; }
  float* place() const { return sums + 2 * kColumns; }
  float* segment(int i) const { return sums + (3 + i) * kColumns; }
  RowProbe row(int column) const { return {rows + std::ptrdiff_t{column} * probe_floats(p)}; }
  void begin(int column, int query) const {
    begin_probe(p, row(column), query);
    for (int i = 0; i < 3 + p.probes->segments; ++i) sums[i * kColumns + column] = 0;
    place()[column] = static_cast<float>(query);
  }
  void look(int column, Vec most, const float* scores, int first_key) const;
  void shrink(int column, Vec rise, Vec factor, Vec sum) const;
  void add(int column, Vec weight, Vec y, int key) const;
};

/// The state of a strip of kColumns queries.
struct StripState {
  float *base, *sum, *most;  // [kColumns]
  float* out;                // [value_rows, kColumns]
  int value_rows;
  const ColumnProbes* probes;  // null: none
};

/// Scores [64, kColumns] of queries [column, column + kLanes), whose greatest is `most`.
inline void ColumnProbes::look(int column, Vec most, const float* scores, int first_key) const {
  const int top = p.probes->top;
  float high[kLanes];
  store(high, most);
  for (int lane = 0; lane < kLanes; ++lane) {
    const RowProbe probe = row(column + lane);
    if (first_key == 0) probe.first() = scores[column + lane];
    if (top == 0 || !(probe.kept()[top - 1] < high[lane])) continue;
    float own[kTileKeys];
    for (int j = 0; j < kTileKeys; ++j) own[j] = scores[j * kColumns + column + lane];
    keep_greatest(probe, top, own, first_key);
  }
}
inline void ColumnProbes::shrink(int column, Vec rise, Vec factor, Vec sum) const {
  store(surprise() + column, (load(surprise() + column) - sum * rise) * factor);
  for (int i = 1; i < 3 + p.probes->segments; ++i)
    if (float* at = sums + i * kColumns + column; i != 2) store(at, load(at) * factor);  // 2: where they stand
}
/// A key's weights 2^y.
inline void ColumnProbes::add(int column, Vec weight, Vec y, int key) const {
  if (p.probes->sums) {
    const Vec gap = load(place() + column) - static_cast<float>(key);
    store(surprise() + column, fma(weight, max(Vec(-200.0f), y), load(surprise() + column)));
    store(travelled() + column, fma(weight, max(gap, Vec(0.0f) - gap), load(travelled() + column)));
  }
  for (int i = 0; i < p.probes->segments; ++i) {
    const float share = p.probes->share[i * p.probes->share_stride + key];
    if (share != 0) store(segment(i) + column, fma(weight, share, load(segment(i) + column)));
  }
}

/// What queries [column, column + kLanes) have summed shrinks where their greatest score rises above the base.
inline void raise_bases(const StripState& s, int column, Vec most) {
  const Vec old = load(s.base + column);
  const Lanes raised = old + kSlack < most;
  if (!any(raised)) return;
  store(s.base + column, select(raised, most, old));
  const Vec shrink = select(raised, exp2(old - most), 1.0f);
  if (s.probes) {
    const Lanes nothing = old < -3.402823466e38f;  // −∞: nothing is summed yet
    s.probes->shrink(column, select(nothing, 0.0f, select(raised, most - old, 0.0f)), shrink, load(s.sum + column));
  }
  store(s.sum + column, load(s.sum + column) * shrink);
  for (int d = 0; d < s.value_rows; ++d) {
    float* o = s.out + std::ptrdiff_t{d} * kColumns + column;
    store(o, load(o) * shrink);
  }
}

/// scores [64, kColumns] of keys from `first` on times `factor`, in octaves, −∞ where `seen` [64], a bit a query, is
/// not set (null: all is seen), become weights [kParts, 32, kColumns, 2]; scores keep what they were made of.
template <int kParts>
inline void transposed_softmax(const StripState& s, float factor, const std::uint64_t* seen, int first, float* scores,
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
    store(s.most + column, max(load(s.most + column), most));
    if (s.probes) s.probes->look(column, most, scores, first);
    raise_bases(s, column, most);
    const Vec now = load(s.base + column);
    const Vec base = select(now < -3.402823466e38f, 0.0f, now);  // −∞ must never meet −∞; a NaN stays
    Vec total = 0.0f, run = 0.0f;  // in runs of 16 keys: 64 one after another round four times as much
    for (int j = 0; j < kTileKeys; j += 2) {
      const float* at = scores + j * kColumns + column;
      const Vec y = load(at) - base, z = load(at + kColumns) - base, even = exp2(y), odd = exp2(z);
      if (s.probes) s.probes->add(column, even, y, first + j), s.probes->add(column, odd, z, first + j + 1);
      run = run + (even + odd);
      if (j % 16 == 14) total = total + run, run = 0.0f;
      store_pairs<kParts>(weights + j * kColumns + 2 * column, kTileKeys * kColumns, even, odd);
    }
    store(s.sum + column, load(s.sum + column) + total);
  }
}

}  // namespace fovea::FOVEA_ISA
