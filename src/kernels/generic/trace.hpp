// One head a second time, with its LSE known: weights e^(S − lse) strip by strip as weights() gives them, and what is
// asked of them is summed while they are in L1. Costs a forward pass and some 10% (scores, exp, P·V for the proof) and
// O(rows + keys) memory; writing the weights down costs several times that.
#pragma once
#include "kernels/generic/flash.hpp"
#include "kernels/generic/weights.hpp"

namespace fovea::FOVEA_ISA {

/// Sums of one row, kLanes keys apart: [rows, kTraceSums, kLanes].
enum { kMass, kSurprise, kTravelled, kAlong, kMost, kTraceSums };

/// A row's 64 scores become its weights, in place, and join its sums. `apart` [64]: j − i of the tile's keys.
inline void weights_of_row(float* x, float lse) {
  for (int j = 0; j < kTileKeys; j += kLanes) store(x + j, exp2((load(x + j) - lse) * kLog2E));
}
inline void trace_row(float* x, float lse, const float* along, Vec apart, float* sums) {
  const Vec unreached = -200.0f;  // e^−200 is 0, and 0 · −200 is no NaN
  Vec mass = load(sums + kMass * kLanes), surprise = load(sums + kSurprise * kLanes);
  Vec travelled = load(sums + kTravelled * kLanes), most = load(sums + kMost * kLanes);
  Vec share = load(sums + kAlong * kLanes);
  for (int j = 0; j < kTileKeys; j += kLanes) {
    const Vec y = max(unreached, load(x + j) - lse), a = exp2(y * kLog2E), gap = apart + static_cast<float>(j);
    store(x + j, a);
    mass = mass + a;
    surprise = fma(a, y, surprise);
    travelled = fma(a, max(gap, Vec(0.0f) - gap), travelled);
    most = max(most, a);
    if (along) share = fma(a, load(along + j), share);
  }
  store(sums + kMass * kLanes, mass), store(sums + kSurprise * kLanes, surprise);
  store(sums + kTravelled * kLanes, travelled), store(sums + kMost * kLanes, most);
  store(sums + kAlong * kLanes, share);
}

/// weights [rows, 64] of a strip and a tile join the sums over columns and over tiles, and give up single ones.
inline void trace_tile(const HeadTrace& t, const float* weights, int row, int rows, Range keys) {
  const int n = keys.end - keys.begin;
  for (int i = 0; i < rows; ++i) {
    const float* a = weights + i * kTileKeys;
    const int query = t.queries.begin + row + i;
    if (t.rows && keys.begin == 0) t.first[row + i] = a[0];
    for (int k = 0; k < t.offset_count; ++k) {
      const int key = query + t.offsets[k] - keys.begin;
      if (key >= 0 && key < n) t.at[std::int64_t{k} * (t.queries.end - t.queries.begin) + row + i] = a[key];
    }
    if (t.received) {
      const float share = t.row_share ? t.row_share[row + i] : 1;
      float* to = t.received + keys.begin;  // [keys, up to a multiple of 64]
      for (int j = 0; j < kTileKeys; j += kLanes) store(to + j, fma(share, load(a + j), load(to + j)));
    }
    if (t.tile_mass) {
      Vec mass = load(a), peak = mass;
      for (int j = kLanes; j < kTileKeys; j += kLanes) mass = mass + load(a + j), peak = max(load(a + j), peak);
      const std::int64_t at = std::int64_t{(t.first_row + row + i) / kTileKeys} * t.tiles + keys.begin / kTileKeys;
      t.tile_mass[at] += reduce_add(mass);
      const float high = reduce_max(peak);
      if (t.tile_peak[at] < high) t.tile_peak[at] = high;
    }
  }
}

/// What a row's sums say once all keys are in them.
inline void finish_trace_row(const Problem& p, const HeadTrace& t, int row, float lse, const float* sums,
                             const float* out, int n) {
  const auto whole = [&](int which) { return reduce_add(load(sums + which * kLanes)); };
  const bool sees = lse != minus_infinity();
  float sink[kLanes] = {};
  if (p.sinks && sees) store(sink, exp(Vec(p.sinks[t.head] - lse)));
  const float keys = whole(kMass), mass = keys + sink[0];
  const float factor = sees ? row_factor(mass, lse, n) : 0;
  t.mass[row] = keys * factor;
  // −Σ A ln A, A = factor·e^y: what the sink took is one more term.
  float surprise = whole(kSurprise);
  if (sink[0] > 0) surprise += sink[0] * (p.sinks[t.head] - lse);
  const float entropy = sees ? -factor * (surprise + mass * __builtin_logf(factor)) : 0;
  t.entropy[row] = entropy < 0 ? 0 : entropy;  // rounding; a NaN stays
  t.distance[row] = factor * whole(kTravelled);
  t.along_sum[row] = factor * whole(kAlong);
  t.most[row] = mass != mass ? mass : factor * reduce_max(load(sums + kMost * kLanes));
  t.first[row] *= factor;
  for (int k = 0; k < t.offset_count; ++k) t.at[std::int64_t{k} * (t.queries.end - t.queries.begin) + row] *= factor;
  float error = 0;
  const std::int64_t at = p.out_offset(t.batch, t.head, t.queries.begin + row);
  for (int d = 0; d < p.value_dim; ++d) {
    float made[1] = {};
    widen_row(p.out, at + d * p.out.dim, 1, made);
    const float off = __builtin_fabsf(factor * out[d] - made[0]);
    if (!(off <= error)) error = off;  // a NaN is an error too
  }
  t.error[row] = error;
}

inline void trace(const Problem& p, const Plan& plan, const HeadTrace& t, std::byte* memory) noexcept {
  const FlushDenormals guard;
  const int length = p.queries_of(t.batch), n = p.keys_of(t.batch), count = t.queries.end - t.queries.begin;
  const int padded = plan.padded_value_dim, block_keys = plan.key_tiles * kTileKeys;
  const Piece w{t.batch, t.head / p.group(), t.head % p.group() * length + t.queries.begin, count, length, n};
  const bool few = few_rows(p, t.batch);
  Scratch s;
  lay_out(p, plan, plan.query_rows, memory, &s);
  begin_rows(p, w, s, padded, 0, count);
  float steps[kLanes];
  for (int j = 0; j < kLanes; ++j) steps[j] = static_cast<float>(j);
  const auto lse = [&](int row) { return p.lse[p.lse_offset(t.batch, t.head, t.queries.begin + row)]; };
  KeyBlock block(p, w, s, plan, 0);
  const Range span = visible_span(p, w);
  for (int key = span.begin; key < span.end; key += block_keys) {
    block.begin({key, at_most(key + block_keys, span.end)});
    block.pack_all();
    for (int row = 0; row < count; row += kStrip) {
      const int rows = at_most(kStrip, count - row);
      for (int tile = 0; tile < block.tiles(); ++tile) {
        const Range keys = block.keys_of(tile);
        std::uint64_t bits[kStrip];
        if (!block.wanted(tile) || look_up_mask(p, w, row, rows, keys, bits) == Cover::Empty) continue;
        for (int i = 0; i < rows && t.rows; ++i) t.visible[row + i] += __builtin_popcountll(bits[i]);
        if (few)
          score_few(p, w, s, row, rows, keys, bits);
        else
          score_strip(p, w, s, block.keys(tile), row, rows, keys, bits);
        if (!block.finite(tile)) hide_minus_infinity(s, rows, bits);
        for (int i = 0; i < rows; ++i) {
          float* x = s.scores + i * kTileKeys;
          const float sum = lse(row + i);
          if (sum == minus_infinity())
            for (int j = 0; j < kTileKeys; ++j) x[j] = minus_infinity();
          if (!t.rows) {
            weights_of_row(x, sum == minus_infinity() ? 0 : sum);
            continue;
          }
          const auto apart = static_cast<float>(keys.begin - (t.queries.begin + row + i));
          trace_row(x, sum == minus_infinity() ? 0 : sum, t.along ? t.along + keys.begin : nullptr, load(steps) + apart,
                    t.sums + std::int64_t{row + i} * kTraceSums * kLanes);
        }
        trace_tile(t, s.scores, row, rows, keys);
        if (t.rows) add_values(s, block, tile, row, rows, padded, bits);
      }
    }
  }
  for (int i = 0; i < count && t.rows; ++i)
    finish_trace_row(p, t, i, lse(i), t.sums + std::int64_t{i} * kTraceSums * kLanes, s.out + i * padded, n);
}

}  // namespace fovea::FOVEA_ISA
