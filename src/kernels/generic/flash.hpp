// Fused attention in O(n) memory: a fold of the softmax monoid (m, l, O) over tiles of keys.
//
// One piece of work owns up to Plan::query_rows rows: queries of one batch row and one KV head, over all query heads
// that share it, so each key and value is read and packed once for all of them. For every tile of 64 keys that a mask
// lets through:
//
//   pack     Kᵀ [head_dim, 64], V [64, value_dim]      f32, once per piece: ~1 cycle an element beside rows/8 FMA
//   cycles product  S = Q·Kᵀ  [48 rows, 64]                   12 KB, stays in L1 until it is used up score    the
//   composed functor, in place; the mask's bits; −∞ where hidden softmax  m' = max(m, row), P = e^(S−m'), α = e^(m−m'),
//   l = α·l + ΣP product  O = α∘O + P·V
//
// The sink is the seed (m = sink, l = 1, O = 0). In the end O/l is rounded once to the output's dtype, and LSE = m + ln
// l.
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/matmul.hpp"
#include "kernels/generic/pack.hpp"
#include "kernels/table.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kStrip = 48;            // rows of S at a time: 8 register tiles, and S + V tile within L1 and L2
inline constexpr int kMaxRows = 8 * kStrip;  // rows of a piece at the most
inline constexpr std::uint64_t kAllBits = ~std::uint64_t{0};

constexpr int at_most(int a, int b) { return a < b ? a : b; }
constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }
inline float minus_infinity() { return -__builtin_inff(); }

/// Scratch of one piece, carved from one allocation. Every array starts on a 64-byte line.
struct Scratch {
  float* queries;   // [rows, head_dim], scaled
  float* out;       // [rows, padded]
  float* top;       // [rows] running maximum m
  float* sum;       // [rows] running denominator l
  float* key_rows;  // [64, head_dim] before the transpose
  float* keys;      // [head_dim, 64]
  float* values;    // [64, padded]
  float* scores;    // [kStrip, 64]
  float* alpha;     // [kStrip]
};
inline std::size_t lay_out(const Problem& p, int rows, int padded, std::byte* base, Scratch* s) {
  std::size_t used = 0;
  const auto take = [&](std::int64_t floats) {
    float* at = reinterpret_cast<float*>(base + used);
    used += static_cast<std::size_t>((floats * 4 + 63) / 64 * 64);
    return at;
  };
  const std::int64_t r = rows, d = p.head_dim;
  *s = {take(r * d),
        take(r * padded),
        take(r),
        take(r),
        take(kTileKeys * d),
        take(kTileKeys * d),
        take(std::int64_t{kTileKeys} * padded),
        take(kStrip * kTileKeys),
        take(kStrip)};
  return used;
}

/// A piece of work: rows [first, first + rows) of the group's rows, row = head_in_group · queries + query.
struct Piece {
  int batch, kv_head, first, rows, queries, keys;
};
/// Rows of one head within a strip.
struct Segment {
  int head, query, row, rows;
};

inline Piece piece_of(const Problem& p, const Plan& plan, std::int64_t item) {
  for (int b = 0;; ++b) {
    const int rows = p.group() * p.queries_of(b);
    const std::int64_t blocks = (rows + plan.query_rows - 1) / plan.query_rows;
    if (item < blocks * p.kv_heads) {
      const int first = static_cast<int>(item % blocks) * plan.query_rows;
      return {
          b,           static_cast<int>(item / blocks), first, at_most(plan.query_rows, rows - first), p.queries_of(b),
          p.keys_of(b)};
    }
    item -= blocks * p.kv_heads;
  }
}

/// Calls f(Segment) for the runs of one head within rows [row, row + rows) of the piece.
template <class F>
inline void for_segments(const Problem& p, const Piece& w, int row, int rows, F f) {
  while (rows > 0) {
    const int at = w.first + row, query = at % w.queries;
    const int n = at_most(rows, w.queries - query);
    f(Segment{w.kv_head * p.group() + at / w.queries, query, row, n});
    row += n, rows -= n;
  }
}

inline Tile tile_of(const Piece& w, const Segment& s, Range keys) {
  return {w.batch, s.head, {s.query, s.query + s.rows}, keys, w.queries, w.keys};
}

/// Visibility of a strip: bits [kStrip]. False when nothing of it is visible.
inline bool look_up_mask(const Problem& p, const Piece& w, int row, int rows, Range keys, std::uint64_t* bits) {
  const int n = keys.end - keys.begin;
  const std::uint64_t full = n == kTileKeys ? kAllBits : (std::uint64_t{1} << n) - 1;
  bool any = false;
  for_segments(p, w, row, rows, [&](const Segment& s) {
    std::uint64_t* own = bits + (s.row - row);
    const Cover cover = p.mask.self ? p.mask.bits(p.mask.self, tile_of(w, s, keys), own) : Cover::Full;
    any = any || cover != Cover::Empty;
    if (cover != Cover::Partial)
      for (int i = 0; i < s.rows; ++i) own[i] = cover == Cover::Full ? full : 0;
  });
  return any;
}

/// scores [rows, 64] of a strip: product, functor, mask.
inline void score_strip(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range keys,
                        const std::uint64_t* bits) {
  product(rows, kTileKeys, p.head_dim, s.queries + row * p.head_dim, p.head_dim, s.keys, kTileKeys, s.scores, kTileKeys,
          nullptr);
  if (p.score.self)
    for_segments(p, w, row, rows, [&](const Segment& g) {
      p.score.apply[kTier](p.score.self, {s.scores + (g.row - row) * kTileKeys, kTileKeys, 1, tile_of(w, g, keys)});
    });
  for (int i = 0; i < rows; ++i) {
    if (bits[i] == kAllBits) continue;
    float* x = s.scores + i * kTileKeys;
    for (int j = 0; j < kTileKeys; j += kLanes)
      store(x + j, select(lanes_of(bits[i] >> j), load(x + j), minus_infinity()));
  }
}

/// scores [rows, 64] → weights e^(S−m), in place; m, l and α of these rows. A maximum of −∞ is held at 0 so that −∞
/// never meets −∞.
inline void softmax_strip(const Scratch& s, int row, int rows) {
  float* top = s.top + row;
  float* sum = s.sum + row;
  float old[kStrip], base[kStrip];
  for (int i = 0; i < rows; ++i) {
    const float* x = s.scores + i * kTileKeys;
    Vec most = load(x);
    for (int j = kLanes; j < kTileKeys; j += kLanes) most = max(most, load(x + j));
    const float m = reduce_max(most);
    old[i] = top[i];
    if (!(m <= top[i])) top[i] = m;
    base[i] = top[i] == minus_infinity() ? 0 : top[i];
  }
  for (int i = rows; i < round_up(rows, kLanes); ++i) old[i] = base[i] = 0;
  for (int i = 0; i < rows; i += kLanes) store(s.alpha + i, exp(load(old + i) - load(base + i)));
  for (int i = 0; i < rows; ++i) {
    float* x = s.scores + i * kTileKeys;
    Vec total = 0.0f;
    for (int j = 0; j < kTileKeys; j += kLanes) {
      const Vec e = exp(load(x + j) - base[i]);
      store(x + j, e);
      total = total + e;
    }
    sum[i] = s.alpha[i] * sum[i] + reduce_add(total);
  }
}

/// A score of −∞ (from a bias, say) hides its key as a mask does.
inline void hide_minus_infinity(const Scratch& s, int rows, std::uint64_t* bits) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < kTileKeys; ++j)
      if (s.scores[i * kTileKeys + j] == minus_infinity()) bits[i] &= ~(std::uint64_t{1} << j);
}

/// O = α∘O + P·V where V holds NaN or infinity behind some row's mask: 0 · NaN must not leak, so hidden keys are stepped over.
/// The same sums in the same order as product(): other rows keep their bits.
inline void add_values_around_mask(const Scratch& s, int row, int rows, int padded, const std::uint64_t* bits) {
  for (int i = 0; i < rows; ++i) {
    float* o = s.out + (row + i) * padded;
    for (int d = 0; d < padded; d += kLanes) {
      Vec sum = 0.0f;
      for (int j = 0; j < kTileKeys; ++j)
        if (bits[i] >> j & 1) sum = fma(s.scores[i * kTileKeys + j], load(s.values + j * padded + d), sum);
      store(o + d, fma(load(o + d), s.alpha[i], sum));
    }
  }
}

inline void begin_rows(const Problem& p, const Piece& w, const Scratch& s, int padded) {
  const float scale = static_cast<float>(p.scale);
  for_segments(p, w, 0, w.rows, [&](const Segment& g) {
    const float sink = p.sinks ? p.sinks[g.head] : minus_infinity();
    for (int i = 0; i < g.rows; ++i) {
      float* q = s.queries + (g.row + i) * p.head_dim;
      widen_row(p.q, p.q_offset(w.batch, g.head, g.query + i), p.head_dim, q);
      for (int d = 0; d < p.head_dim; ++d) q[d] *= scale;
      s.top[g.row + i] = sink;
      s.sum[g.row + i] = sink == minus_infinity() ? 0.0f : 1.0f;
    }
  });
  for (int i = 0; i < w.rows * padded; ++i) s.out[i] = 0;
}

inline void finish_rows(const Problem& p, const Piece& w, const Scratch& s, int padded) {
  for_segments(p, w, 0, w.rows, [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const int r = g.row + i;
      const float l = s.sum[r];
      // l is 0 exactly when nothing was visible (then the row is zeros); a NaN stays a NaN.
      narrow_row(s.out + r * padded, l == 0 ? 0.0f : 1 / l, p.value_dim, p.out,
                 p.out_offset(w.batch, g.head, g.query + i));
      if (p.lse)
        p.lse[p.lse_offset(w.batch, g.head, g.query + i)] = l == 0 ? minus_infinity() : s.top[r] + __builtin_logf(l);
    }
  });
}

/// The run of keys outside which no row of the piece sees anything, from the start of a tile.
inline Range visible_span(const Problem& p, const Piece& w) {
  if (!p.mask.self) return {0, w.keys};
  Range all{w.keys, 0};
  for_segments(p, w, 0, w.rows, [&](const Segment& g) {
    const Range r = p.mask.span(p.mask.self, tile_of(w, g, {0, 0}));
    if (r.begin >= r.end) return;
    all.begin = at_most(all.begin, r.begin);
    all.end = all.end > r.end ? all.end : r.end;
  });
  return {all.begin / kTileKeys * kTileKeys, all.end};
}

inline Plan plan(const Problem& p) noexcept {
  // Q and O of a piece should sit in half of a 1 MB L2, the tiles of K and V beside them.
  Plan plan;
  plan.padded_value_dim = round_up(p.value_dim, kLanes);
  const int fits = (384 << 10) / (4 * (p.head_dim + plan.padded_value_dim + 1)) / kStrip * kStrip;
  plan.query_rows = at_most(kMaxRows, fits < kStrip ? kStrip : fits);
  int longest = 0;
  for (int b = 0; b < p.batches; ++b) {
    const int rows = p.group() * p.queries_of(b);
    longest = rows > longest ? rows : longest;
    plan.items += std::int64_t{(rows + plan.query_rows - 1) / plan.query_rows} * p.kv_heads;
  }
  Scratch unused;
  plan.scratch_bytes =
      lay_out(p, at_most(plan.query_rows, round_up(longest, kStrip)), plan.padded_value_dim, nullptr, &unused);
  return plan;
}

inline void forward(const Problem& p, const Plan& plan, std::int64_t item, std::byte* memory) noexcept {
  const FlushDenormals guard;
  const Piece w = piece_of(p, plan, item);
  const int padded = plan.padded_value_dim;
  Scratch s;
  lay_out(p, at_most(plan.query_rows, round_up(w.rows, kStrip)), padded, memory, &s);
  begin_rows(p, w, s, padded);
  const Range span = visible_span(p, w);
  for (int key = span.begin; key < span.end; key += kTileKeys) {
    const Range keys{key, at_most(key + kTileKeys, w.keys)};
    bool packed = false, finite = true;
    for (int row = 0; row < w.rows; row += kStrip) {
      const int rows = at_most(kStrip, w.rows - row);
      std::uint64_t bits[kStrip];
      if (!look_up_mask(p, w, row, rows, keys, bits)) continue;  // empty tiles are never computed, nor read
      if (!packed) {
        pack_keys(p, w.batch, w.kv_head, key, keys.end - key, s.key_rows, s.keys);
        finite = pack_values(p, w.batch, w.kv_head, key, keys.end - key, padded, s.values);
        packed = true;
      }
      score_strip(p, w, s, row, rows, keys, bits);
      if (!finite) hide_minus_infinity(s, rows, bits);
      softmax_strip(s, row, rows);
      if (finite)
        product(rows, padded, kTileKeys, s.scores, kTileKeys, s.values, padded, s.out + row * padded, padded, s.alpha);
      else
        add_values_around_mask(s, row, rows, padded, bits);
    }
  }
  finish_rows(p, w, s, padded);
}

/// A row of e^(S−lse) [n] is off as a whole by the rounding of lse, |lse| · 6e-8; a whole row divides that out by its own sum.
inline void divide_by_sum(float* row, int n, float sink_weight) {
  Vec total = 0.0f;
  int j = 0;
  for (; j + kLanes <= n; j += kLanes) total = total + load(row + j);
  float sum = reduce_add(total) + sink_weight;
  for (; j < n; ++j) sum += row[j];
  if (!(sum > 0.5f && sum < 2)) return;  // a row that sees nothing, or NaN
  for (j = 0; j < n; ++j) row[j] /= sum;
}

inline void weights(const Problem& p, const Plan& plan, int batch, int head, Range queries, float* to,
                    std::byte* memory) noexcept {
  const FlushDenormals guard;
  const int length = p.queries_of(batch), n = p.keys_of(batch), count = queries.end - queries.begin;
  const Piece w{batch, head / p.group(), head % p.group() * length + queries.begin, count, length, n};
  Scratch s;
  lay_out(p, at_most(plan.query_rows, round_up(count, kStrip)), plan.padded_value_dim, memory, &s);
  begin_rows(p, w, s, plan.padded_value_dim);
  for (int key = 0; key < n; key += kTileKeys) {
    const Range keys{key, at_most(key + kTileKeys, n)};
    bool packed = false;
    for (int row = 0; row < count; row += kStrip) {
      const int rows = at_most(kStrip, count - row);
      std::uint64_t bits[kStrip];
      const bool any = look_up_mask(p, w, row, rows, keys, bits);
      if (any && !packed) pack_keys(p, batch, w.kv_head, key, keys.end - key, s.key_rows, s.keys), packed = true;
      if (any) score_strip(p, w, s, row, rows, keys, bits);
      for (int i = 0; i < rows; ++i) {
        float* out = to + std::int64_t{row + i} * n + key;
        const float lse = p.lse[p.lse_offset(batch, head, queries.begin + row + i)];
        float e[kTileKeys] = {};
        if (any && lse != minus_infinity())
          for (int j = 0; j < kTileKeys; j += kLanes) store(e + j, exp(load(s.scores + i * kTileKeys + j) - lse));
        for (int j = 0; j < keys.end - key; ++j) out[j] = e[j];
      }
    }
  }
  for (int i = 0; i < count; ++i) {
    float sink[kLanes] = {};
    if (p.sinks) store(sink, exp(Vec(p.sinks[head] - p.lse[p.lse_offset(batch, head, queries.begin + i)])));
    divide_by_sum(to + std::int64_t{i} * n, n, sink[0]);
  }
}

}  // namespace fovea::FOVEA_ISA
