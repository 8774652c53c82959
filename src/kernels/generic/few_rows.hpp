// Few queries over many keys: decoding, one token at a time. The limit is how fast memory gives up keys and values, so
// they are read once for all query heads that share them, where they lie, as they are: nothing is packed. Where heads
// stand side by side, [time, kv_heads, dim], one head's rows are pages apart: walked head by head, memory gave up a
// third of what it can. So the heads of a piece walk together, 16 keys at a time (as many as a vector has lanes), while
// the next 16 rows of all of them are asked for in memory's own order.
//
// Scores are dot products along the channels: kLanes partial sums for each of kLanes keys, then added up while they are
// turned. A long cache is cut into runs of split_keys(), which threads share and merge_splits() joins by their LSE. The
// cut depends on the number of keys and heads alone, so a sequence has the same bits in any batch, on any number of
// threads.
#pragma once
#include "kernels/generic/softmax.hpp"

namespace fovea::FOVEA_ISA {

/// Rows of a tile of keys or values, wherever they lie.
template <class T>
struct TileRows {
  const T* data;
  const std::int64_t* at;  // [n] offsets of rows
  int n;
  const T* row(int j) const { return data + at[j < n ? j : n - 1]; }
};

/// scores [Rows, kLanes] from column j0: q [Rows, dims] · keys j0 … j0 + kLanes. Two keys at a time: with 4 rows, the 8
/// chains of FMAs that two ports of latency 4 ask for.
template <int Rows, class T>
inline void dot_keys(const float* q, int dims, const TileRows<T>& keys, int j0, float* scores) {
  Vec part[Rows][kLanes];  // of row i and key j, kLanes channels apart
  for (int j = 0; j < kLanes; j += 2) {
    const T *first = keys.row(j0 + j), *second = keys.row(j0 + j + 1);
    Vec sum[Rows][2];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) sum[i][0] = sum[i][1] = 0.0f;
    for (int d = 0; d < dims; d += kLanes) {
      const Vec x = load(first + d), y = load(second + d);
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) {
        const Vec query = load(q + i * dims + d);
        sum[i][0] = fma(x, query, sum[i][0]);
        sum[i][1] = fma(y, query, sum[i][1]);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) part[i][j] = sum[i][0], part[i][j + 1] = sum[i][1];
  }
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i) store(scores + i * kTileKeys + j0, sums_of(part[i]));
}

/// out [Rows, Vecs·kLanes] += weights [Rows, n] · values.
template <int Rows, int Vecs, class T>
inline void add_values(const float* weights, const TileRows<T>& values, int d, float* out, int padded) {
  Vec sum[Rows][Vecs];
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) sum[i][v] = 0.0f;
  for (int j = 0; j < values.n; ++j) {
    const T* row = values.data + values.at[j] + d;
    Vec x[Vecs];
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) x[v] = load(row + v * kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) sum[i][v] = fma(weights[i * kTileKeys + j], x[v], sum[i][v]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) {
      float* to = out + i * padded + d + v * kLanes;
      store(to, load(to) + sum[i][v]);
    }
}

/// body.template operator()<Rows>(first row) over `rows` rows, at most 4 at a time.
template <class F>
inline void by_fours(int rows, F body) {
  int i = 0;
  for (; i + 4 <= rows; i += 4) body.template operator()<4>(i);
  if (rows - i == 3) body.template operator()<3>(i);
  if (rows - i == 2) body.template operator()<2>(i);
  if (rows - i == 1) body.template operator()<1>(i);
}

/// A tile of keys for few rows: `direct` when rows can be read where they lie, else they are copied, widened and
/// padded.
struct FewKeys {
  const Problem& p;
  const Piece& w;
  const Scratch& s;

  static bool direct(const Operand& x, int dims) { return x.dim == 1 && dims % kLanes == 0; }

  /// f(TileRows<T>) for the keys of a range, then the same for values.
  template <class F>
  void keys(Range r, F f) const {
    rows_of(p.k, r, p.head_dim, s.keys, f);
  }
  template <class F>
  void values(Range r, F f) const {
    rows_of(p.v, r, p.value_dim, s.values, f);
  }

 private:
  template <class F>
  void rows_of(const Operand& x, Range r, int dims, float* copy, F f) const {
    const int n = r.end - r.begin;
    std::int64_t at[kTileKeys];
    find_rows(p, w, x, r.begin, n, at);
    if (!direct(x, dims)) {
      for (int j = 0; j < round_up(n, kLanes); j += kLanes) pack_rows(x, at + j, n - j, dims, copy, j);
      for (int j = 0; j < n; ++j) at[j] = std::int64_t{j} * round_up(dims, kLanes);
      return f(TileRows<float>{copy, at, n});
    }
    switch (x.dtype) {
      case DType::F32:
        return f(TileRows<float>{static_cast<const float*>(x.data), at, n});
      case DType::BF16:
        return f(TileRows<bf16>{static_cast<const bf16*>(x.data), at, n});
      case DType::F16:
        return f(TileRows<f16>{static_cast<const f16*>(x.data), at, n});
      default:
        return;  // refused before
    }
  }
};

/// scores [rows, 64] from `column` on: rows of one KV head, and a unit of up to kLanes keys.
inline void dot_unit(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range unit, float* scores) {
  const int dims = round_up(p.head_dim, kLanes);
  FewKeys{p, w, s}.keys(unit, [&](const auto& keys) {
    by_fours(rows, [&]<int Rows>(int i) {
      dot_keys<Rows>(s.queries + (row + i) * dims, dims, keys, 0, scores + i * kTileKeys);
    });
  });
}

/// What follows the dot products: zeros beyond the keys, functor, mask.
inline void finish_few(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range range,
                       std::uint64_t* bits) {
  for (int i = 0; i < rows; ++i)
    for (int j = round_up(range.end - range.begin, kLanes); j < kTileKeys; ++j) s.scores[i * kTileKeys + j] = 0;
  finish_scores(p, w, s, row, rows, range, bits);
  if (p.score.self) hide_minus_infinity(s, rows, bits);
}

/// The unit of keys that starts at `key`, of those before `end`.
inline Range unit_at(int key, int end) { return {at_most(key, end), at_most(key + kLanes, end)}; }

/// scores [rows, 64] of a tile and rows of one KV head.
inline void score_few(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range range,
                      std::uint64_t* bits) {
  for (int key = range.begin; key < range.end; key += kLanes)
    dot_unit(p, w, s, row, rows, unit_at(key, range.end), s.scores + (key - range.begin));
  finish_few(p, w, s, row, rows, range, bits);
}

/// The pieces of the KV heads in a piece of few rows: f(the head's own piece, its first row).
template <class F>
inline void for_kv_heads(const Problem& p, const Piece& w, F f) {
  const int rows = p.group() * w.queries;
  for (int row = 0; row < w.rows; row += rows)
    f(Piece{w.batch, w.kv_head + row / rows, 0, rows, w.queries, w.keys}, row);
}

/// Asks for rows of k or v of all heads of the piece, key by key as they lie side by side: of a unit, the share that is
/// due while the head with first row `row` is worked on.
inline void ask_for_unit(const Problem& p, const Piece& w, const Operand& x, int dims, Range unit, int row) {
  const int each = p.group() * w.queries, heads = w.rows / each, n = unit.end - unit.begin, head = row / each;
  const int runs = x.head == dims ? 1 : heads, run = dims * heads / runs;
  for (int j = n * head / heads; j < n * (head + 1) / heads; ++j)
    for (int h = 0; h < runs; ++h) prefetch_row<0>(x, p.row_of(x, w.batch, w.kv_head + h, unit.begin + j), run);
}

/// scores [w.rows, 64] of a tile, all heads of the piece a unit at a time.
inline void score_heads(const Problem& p, const Piece& w, const Scratch& s, Range range, std::uint64_t* bits) {
  for (int key = range.begin; key < range.end; key += kLanes) {
    const Range next = unit_at(key + kLanes, range.end);
    for_kv_heads(p, w, [&](const Piece& own, int row) {
      if (next.begin < next.end)
        ask_for_unit(p, w, p.k, p.head_dim, next, row);
      else
        ask_for_unit(p, w, p.v, p.value_dim, unit_at(range.begin, range.end), row);
      dot_unit(p, own, s, row, own.rows, unit_at(key, range.end), s.scores + row * kTileKeys + (key - range.begin));
    });
  }
  finish_few(p, w, s, 0, w.rows, range, bits);
}

/// O += P·V of one KV head and a unit; what is hidden is stepped over where some row does not see every key.
inline void add_unit(const Problem& p, const Piece& w, const Scratch& s, int row, int padded, Range unit, int column,
                     const std::uint64_t* bits) {
  const int n = unit.end - unit.begin;
  const std::uint64_t full = ((std::uint64_t{1} << n) - 1) << column;
  bool all = true;
  for (int i = 0; i < w.rows; ++i) all = all && (bits[i] & full) == full;
  const float* weights = s.scores + row * kTileKeys + column;
  float* out = s.out + row * padded;
  FewKeys{p, w, s}.values(unit, [&](const auto& values) {
    if (all) {
      by_fours(w.rows, [&]<int Rows>(int i) {
        int d = 0;
        for (; d + 4 * kLanes <= padded; d += 4 * kLanes)
          add_values<Rows, 4>(weights + i * kTileKeys, values, d, out + i * padded, padded);
        for (; d < padded; d += kLanes)
          add_values<Rows, 1>(weights + i * kTileKeys, values, d, out + i * padded, padded);
      });
      return;
    }
    for (int i = 0; i < w.rows; ++i)
      for (int d = 0; d < padded; d += kLanes) {
        Vec sum = 0.0f;  // the same sums in the same order as above
        for (int j = 0; j < n; ++j)
          if (bits[i] >> (column + j) & 1) sum = fma(weights[i * kTileKeys + j], load(values.row(j) + d), sum);
        store(out + i * padded + d, load(out + i * padded + d) + sum);
      }
  });
}

/// O += P·V of a tile, all heads of the piece a unit at a time.
inline void add_heads(const Problem& p, const Piece& w, const Scratch& s, int padded, Range range, int end,
                      const std::uint64_t* bits) {
  for (int key = range.begin; key < range.end; key += kLanes) {
    const Range unit = unit_at(key, range.end), next = unit_at(key + kLanes, range.end);
    for_kv_heads(p, w, [&](const Piece& own, int row) {
      if (next.begin < next.end)
        ask_for_unit(p, w, p.v, p.value_dim, next, row);
      else
        ask_for_unit(p, w, p.k, p.head_dim, unit_at(range.end, end), row);
      add_unit(p, own, s, row, padded, unit, key - range.begin, bits + row);
    });
  }
}

/// What one run of keys knows of its rows: base, l, greatest score, O and the probes, [rows, split_floats].
inline void save_split(const Problem& p, const Scratch& s, int rows, int padded, float* partial) {
  for (int i = 0; i < rows; ++i) {
    float* to = partial + i * split_floats(p, padded);
    to[0] = s.base[i], to[1] = reduce_add(load(s.sum + i * kLanes)), to[2] = reduce_max(load(s.most + i * kLanes));
    for (int d = 0; d < padded; ++d) to[3 + d] = s.out[i * padded + d];
    if (p.probes) save_probe(p, probe_of(p, s, i), to + 3 + padded);
  }
}

/// Joins the runs of a piece: base = the greatest, l and O shrink to it. The monoid of softmax; its identity is (−∞, 0,
/// 0).
inline void merge_splits(const Problem& p, const Piece& w, const Scratch& s, int padded, const float* partials) {
  const int splits = splits_of(p, w.batch), stride = heads_together(p, w.batch) * p.group() * w.queries;
  begin_probes(p, w, s, 0, w.rows);
  for (int i = 0; i < w.rows; ++i) {
    const auto part = [&](int split) {
      return partials + (std::ptrdiff_t{split} * stride + i) * split_floats(p, padded);
    };
    float base = minus_infinity(), l = 0, most = base;
    for (int split = 0; split < splits; ++split) {
      if (!(part(split)[0] <= base)) base = part(split)[0];  // a NaN is taken, and stays
      if (most < part(split)[2]) most = part(split)[2];
    }
    float* out = s.out + i * padded;
    for (int d = 0; d < padded; ++d) out[d] = 0;
    for (int split = 0; split < splits; ++split) {
      if (part(split)[0] == minus_infinity()) continue;
      float shrink[kLanes];
      store(shrink, exp2(Vec(part(split)[0] - base) * kLog2E));
      l += shrink[0] * part(split)[1];
      for (int d = 0; d < padded; ++d) out[d] += shrink[0] * part(split)[3 + d];
      if (p.probes) join_probe(p, probe_of(p, s, i), part(split) + 3 + padded, part(split)[1], base - part(split)[0]);
    }
    set_base(s, i, base);
    store(s.sum + i * kLanes, 0.0f);
    s.sum[i * kLanes] = l;
    store(s.most + i * kLanes, most);
  }
  finish_rows(p, w, s, padded, 0, w.rows);
  finish_probes(p, w, s, 0, w.rows);
}

/// Run `split` of a piece of few rows of some heads; `partials` null when it is the only one.
inline void forward_few(const Problem& p, const Piece& w, const Scratch& s, int padded, int split, float* partials) {
  begin_rows<F32Operands>(p, w, s, padded, 0, w.rows);
  begin_probes(p, w, s, 0, w.rows);
  if (split > 0)
    for (int i = 0; i < w.rows; ++i) {  // the sink joins the first run alone
      set_base(s, i, minus_infinity());
      store(s.sum + i * kLanes, 0.0f);
    }
  const Range span = visible_span(p, w);
  const int run = split_keys(p), end = partials ? at_most(span.end, (split + 1) * run) : span.end;
  for (int key = at_least(span.begin, partials ? split * run : 0); key < end; key += kTileKeys) {
    const Range range{key, at_most(key + kTileKeys, w.keys)};
    std::uint64_t bits[kStrip];
    if (look_up_mask(p, w, 0, w.rows, range, bits) == Cover::Empty) continue;
    score_heads(p, w, s, range, bits);
    if (p.probes)
      softmax_strip_probed(p, s, 0, w.rows, padded, range);
    else
      softmax_strip(s, 0, w.rows, padded);
    add_heads(p, w, s, padded, range, end, bits);
  }
  if (partials)
    save_split(p, s, w.rows, padded,
               partials + std::ptrdiff_t{split} * heads_together(p, w.batch) * p.group() * w.queries *
                              split_floats(p, padded));
  else
    finish_rows(p, w, s, padded, 0, w.rows), finish_probes(p, w, s, 0, w.rows);
}

}  // namespace fovea::FOVEA_ISA
