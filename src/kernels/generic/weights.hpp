// Any weights on demand: e^(S − lse), of scores in octaves 2^(S − lse · log2 e), rebuilt by the products, functors and
// masks of the pass that ran.
#pragma once
#include "kernels/generic/few_rows.hpp"

namespace fovea::FOVEA_ISA {

/// A row of e^(S−lse) [n] is off as a whole by the rounding of lse, |lse| · 6e-8; a whole row divides that out by its
/// own sum. By no more than that: a wrong lse must show in the weights.
inline float row_factor(float sum, float lse, int n) {
  const float off = 1e-6f * (1 + __builtin_fabsf(lse)) + 1e-7f * __builtin_sqrtf(static_cast<float>(n));
  return __builtin_fabsf(sum - 1) <= off ? 1 / sum : 1;  // of a NaN too
}
inline void divide_by_sum(float* row, int n, float sink_weight, float lse) {
  if (lse == minus_infinity()) return;  // a row that sees nothing
  Vec total = 0.0f;
  int j = 0;
  for (; j + kLanes <= n; j += kLanes) total = total + load(row + j);
  float sum = reduce_add(total) + sink_weight;
  for (; j < n; ++j) sum += row[j];
  if (row_factor(sum, lse, n) == 1) return;
  for (j = 0; j < n; ++j) row[j] /= sum;
}

inline void score_as_run(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range range,
                         const std::uint64_t* bits) {
  score_strip<F32Operands>(p, w, s, s.keys, row, rows, range, bits);
}

/// The same scores [rows, 64], but closer: as one sum of 32 terms, scores of 69, which MiniLM has, put weights off by
/// 3e-6. Here runs of four terms are added up with what each addition loses (Knuth's TwoSum). Whole rows alone, which
/// are divided by their own sum: a part of one is right to the last digits only beside the scores that lse was made of.
inline void score_closely(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range range,
                          const std::uint64_t* bits) {
  constexpr int kRun = 4;
  const int dims = round_up(p.head_dim, kLanes), n = rows * kTileKeys;
  alignas(64) float run[kStrip * kTileKeys], lost[kStrip * kTileKeys];  // [rows, 64]
  for (int i = 0; i < n; ++i) s.scores[i] = lost[i] = 0;
  for (int d = 0; d < p.head_dim; d += kRun) {
    product<false>(rows, kTileKeys, at_most(kRun, p.head_dim - d), s.queries + row * dims + d, dims,
                   s.keys + d * kTileKeys, kTileKeys, run, kTileKeys);
    for (int i = 0; i < n; i += kLanes) {
      const Vec a = load(s.scores + i), b = load(run + i), sum = a + b, joined = sum - a;
      store(lost + i, load(lost + i) + ((a - (sum - joined)) + (b - joined)));
      store(s.scores + i, sum);
    }
  }
  const Vec unit = F32Operands::factor(p);
  for (int i = 0; i < n; i += kLanes) {
    const Vec sum = load(s.scores + i), all = sum + load(lost + i);
    store(s.scores + i, select(sum - sum < 1.0f, all, sum) * unit);  // of an infinite sum what was lost is a NaN
  }
  finish_scores(p, w, s.scores, row, rows, range, bits);
}

inline void weights(const Problem& p, const Plan& plan, int batch, int head, Range queries, Range wanted, float* to,
                    std::byte* memory) noexcept {
  const FlushDenormals guard;
  const int length = p.queries_of(batch), n = p.keys_of(batch), count = queries.end - queries.begin;
  const Piece w{batch, head / p.group(), head % p.group() * length + queries.begin, count, length, n};
  const auto lse = [&](int i) { return p.lse[p.lse_offset(batch, head, queries.begin + i)]; };
  const bool few = few_rows(p, batch);
  Scratch s;
  lay_out(p, plan, plan.query_rows, memory, &s);
  begin_rows<F32Operands>(p, w, s, plan.padded_value_dim, 0, count);
  const std::int64_t width = wanted.end - wanted.begin;
  for (int key = wanted.begin / kTileKeys * kTileKeys; key < wanted.end; key += kTileKeys) {
    const Range keys{key, at_most(key + kTileKeys, n)};
    bool packed = false;
    for (int row = 0; row < count; row += kStrip) {
      const int rows = at_most(kStrip, count - row);
      std::uint64_t bits[kStrip];
      const bool any = look_up_mask(p, w, row, rows, keys, bits) != Cover::Empty;
      if (any && few) {
        score_few(p, w, s, row, rows, keys, bits);
      } else if (any) {
        for (int j = 0; !packed && j < kTileKeys; j += kLanes) {
          const int here = at_most(kLanes, keys.end - key - j);
          std::int64_t at[kLanes];
          find_rows(p, w, p.k, key + j, here, at);
          pack_turned(p.k, at, here, p.head_dim, s.rows, s.keys, j);
        }
        packed = true;
        (width < n ? score_as_run : score_closely)(p, w, s, row, rows, keys, bits);
      }
      for (int i = 0; i < rows; ++i) {
        float e[kTileKeys] = {};
        const double octaves = lse(row + i) * kLog2E;
        const Vec whole = static_cast<float>(octaves), rest = static_cast<float>(octaves - static_cast<float>(octaves));
        if (any && lse(row + i) != minus_infinity())
          for (int j = 0; j < kTileKeys; j += kLanes)
            store(e + j, exp2(load(s.scores + i * kTileKeys + j) - whole - rest));
        float* out = to + (row + i) * width - wanted.begin;
        for (int j = at_least(key, wanted.begin); j < at_most(keys.end, wanted.end); ++j) out[j] = e[j - key];
      }
    }
  }
  if (width < n) return;
  for (int i = 0; i < count; ++i) {
    float sink[kLanes] = {};
    if (p.sinks) store(sink, exp(Vec(p.sinks[head] - lse(i))));
    divide_by_sum(to + std::int64_t{i} * n, n, sink[0], lse(i));
  }
}

}  // namespace fovea::FOVEA_ISA
