// One head a second time, with its LSE known: weights e^(S − lse) strip by strip as weights() gives them, and what is
// asked of them is summed while they are in L1: of rows by the forward pass's own probes, with the LSE for a base.
// Costs a forward pass and some 10% (scores, exp, P·V for the proof), or without rows the half of one, and O(rows +
// keys) memory; writing the weights down costs several times that.
#pragma once
#include "kernels/generic/flash.hpp"
#include "kernels/generic/weights.hpp"

namespace fovea::FOVEA_ISA {

/// weights [rows, 64] of a strip join the columns' sums.
inline void receive(const HeadTrace& t, const float* weights, int row, int rows, Range keys) {
  constexpr int kVecs = kTileKeys / kLanes;
  float* to = t.received + keys.begin;  // [keys, up to a multiple of 64]
  Vec sum[kVecs];
  for (int j = 0; j < kVecs; ++j) sum[j] = load(to + j * kLanes);
  for (int i = 0; i < rows; ++i) {
    const Vec share = t.row_share ? t.row_share[row + i] : 1;
#pragma GCC unroll 16
    for (int j = 0; j < kVecs; ++j) sum[j] = fma(share, load(weights + i * kTileKeys + j * kLanes), sum[j]);
  }
  for (int j = 0; j < kVecs; ++j) store(to + j * kLanes, sum[j]);
}

/// weights [rows, 64] of a strip and a tile join the sums over columns and over tiles, and give up single ones.
inline void trace_tile(const HeadTrace& t, const float* weights, int row, int rows, Range keys) {
  const int n = keys.end - keys.begin;
  if (t.received) receive(t, weights, row, rows, keys);
  for (int i = 0; i < rows; ++i) {
    const float* a = weights + i * kTileKeys;
    for (int k = 0; k < t.offset_count; ++k) {
      const int key = t.queries.begin + row + i + t.offsets[k] - keys.begin;
      if (key >= 0 && key < n) t.at[std::int64_t{k} * (t.queries.end - t.queries.begin) + row + i] = a[key];
    }
    if (!t.tile_mass) continue;
    Vec mass = load(a), peak = mass;
    for (int j = kLanes; j < kTileKeys; j += kLanes) mass = mass + load(a + j), peak = max(load(a + j), peak);
    const std::int64_t at = std::int64_t{(t.first_row + row + i) / kTileKeys} * t.tiles + keys.begin / kTileKeys;
    t.tile_mass[at] += reduce_add(mass);
    const float high = reduce_max(peak);
    if (t.tile_peak[at] < high) t.tile_peak[at] = high;
  }
}

/// What a row's sums say once all keys are in them.
inline void finish_trace_row(const Problem& p, const HeadTrace& t, const Scratch& s, int row, const float* out, int n) {
  const float lse = p.lse[p.lse_offset(t.batch, t.head, t.queries.begin + row)];
  const bool sees = lse != minus_infinity();
  const RowProbe probe = probe_of(p, s, row);
  const float base = s.base[row], sink = p.sinks && sees ? exp2_of(in_octaves(p.sinks[t.head]) - base) : 0;
  const float keys = reduce_add(load(s.sum + row * kLanes)), l = keys + sink;
  const float factor = sees ? row_factor(l, lse, n) : 0;
  float surprise = reduce_add(load(probe.surprise()));
  if (sink > 0) surprise += sink * (in_octaves(p.sinks[t.head]) - base);  // what the sink took is one more term
  t.mass[row] = keys * factor;
  t.entropy[row] = sees ? entropy_of(l, surprise) : 0;
  t.distance[row] = factor * reduce_add(load(probe.travelled()));
  t.along[row] = p.probes->segments > 0 ? factor * reduce_add(load(probe.segment(0))) : 0;
  t.most[row] = l != l ? l : sees ? factor * exp2_of(reduce_max(load(s.most + row * kLanes)) - base) : 0;
  t.first[row] = sees ? factor * exp2_of(probe.first() - base) : 0;
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

/// Rows whose base is their LSE and stays so; of a row that sees nothing every weight is 0.
inline void begin_known_rows(const Problem& p, const Piece& w, const HeadTrace& t, const Scratch& s, int padded) {
  begin_rows<F32Operands>(p, w, s, padded, 0, w.rows);
  if (t.rows) begin_probes(p, w, s, 0, w.rows);
  for (int i = 0; i < w.rows; ++i) {
    const float lse = p.lse[p.lse_offset(t.batch, t.head, t.queries.begin + i)];
    s.base[i] = s.shift[i] = lse == minus_infinity() ? -minus_infinity() : in_octaves(lse);
    s.bound[i] = -minus_infinity();
    store(s.sum + i * kLanes, 0.0f);
  }
}

/// Weights [rows, 64] of a strip and a tile of which something is visible, from their scores [rows, 64]; with t.rows
/// they join the rows' sums.
inline void weigh_known(const Problem& p, const HeadTrace& t, const Scratch& s, int row, int rows, Range keys) {
  for (int i = 0; i < rows; ++i) {
    float* x = s.scores + i * kTileKeys;
    const int r = row + i;
    if (!t.rows) {
      for (int j = 0; j < kTileKeys; j += kLanes) store(x + j, exp2(load(x + j) - s.shift[r]));
      continue;
    }
    const RowProbe probe = probe_of(p, s, r);
    note_most(s.most + r * kLanes, greatest(x));
    if (keys.begin == 0) probe.first() = x[0];
    const Vec total = weigh_row(*p.probes, probe, x, s.shift[r], keys.begin);
    store(s.sum + r * kLanes, load(s.sum + r * kLanes) + total);
  }
}

inline void trace(const Problem& p, const Plan& plan, const HeadTrace& t, std::byte* memory) noexcept {
  const FlushDenormals guard;
  const int length = p.queries_of(t.batch), n = p.keys_of(t.batch), count = t.queries.end - t.queries.begin;
  const int padded = plan.padded_value_dim, block_keys = plan.key_tiles * kTileKeys;
  const Piece w{t.batch, t.head / p.group(), t.head % p.group() * length + t.queries.begin, count, length, n};
  const bool few = few_rows(p, t.batch), in_registers = !t.rows && !few && weighs_beside(p);
  Scratch s;
  lay_out(p, plan, plan.query_rows, memory, &s);
  begin_known_rows(p, w, t, s, padded);
  KeyBlock<F32Operands> block(p, w, s, plan, t.rows ? Wanted::KeysAndValues : Wanted::Keys);
  const Range span = visible_span(p, w);
  for (int key = span.begin; key < span.end; key += block_keys) {
    block.pack({key, at_most(key + block_keys, span.end)});
    for (int row = 0; row < count; row += kStrip) {
      const int rows = at_most(kStrip, count - row);
      for (int tile = 0; tile < block.tiles(); ++tile) {
        const Range keys = block.keys_of(tile);
        std::uint64_t bits[kStrip];
        if (!block.wanted(tile)) continue;
        const Cover cover = look_up_mask(p, w, row, rows, keys, bits);
        if (cover == Cover::Empty) continue;
        for (int i = 0; i < rows && t.rows; ++i) t.visible[row + i] += __builtin_popcountll(bits[i]);
        if (in_registers) {
          const NoProbes none;
          weigh_beside<F32Operands>(p, s, block.keys(tile), row, rows, cover, bits, padded, none);
          last_weights<F32Operands>(p, s, row, rows, none).whole();
        } else {
          if (few)
            score_few(p, w, s, row, rows, keys, bits);
          else
            score_strip<F32Operands>(p, w, s, block.keys(tile), row, rows, keys, bits);
          if (!block.finite(tile)) hide_minus_infinity(s.scores, rows, bits);
          weigh_known(p, t, s, row, rows, keys);
        }
        trace_tile(t, s.scores, row, rows, keys);
        if (t.rows) add_values(p, w, s, block, tile, row, rows, padded, bits);
      }
    }
  }
  for (int i = 0; i < count && t.rows; ++i) finish_trace_row(p, t, s, i, s.out + i * padded, n);
}

}  // namespace fovea::FOVEA_ISA
