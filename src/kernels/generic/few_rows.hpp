// Few queries over many keys: decoding, one token at a time. The limit is how fast memory gives up keys and values, so
// they are read once for all query heads that share them, where they lie, as they are: nothing is packed.
//
// Scores are dot products along the channels: kLanes partial sums for each of kLanes keys, then added up while they are
// turned. A long cache is cut into runs of kSplitKeys, which threads share and merge_splits() joins by their LSE. The
// cut depends on the number of keys alone, so a sequence has the same bits in any batch, on any number of threads.
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

/// scores [rows, 64] of a tile: dot products, functor, mask. Asks for the keys of the next tile on the way.
inline void score_few(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range range,
                      std::uint64_t* bits) {
  const int dims = round_up(p.head_dim, kLanes);
  const int ahead = at_most(w.keys - range.end, kTileKeys);
  FewKeys{p, w, s}.keys(range, [&](const auto& keys) {
    for (int j = 0; j < keys.n; j += kLanes) {
      for (int i = j; i < at_most(ahead, j + kLanes); ++i)
        prefetch_row<0>(p.k, p.k_offset(w.batch, w.kv_head, range.end + i), p.head_dim);
      by_fours(rows, [&]<int Rows>(int i) {
        dot_keys<Rows>(s.queries + (row + i) * dims, dims, keys, j, s.scores + i * kTileKeys);
      });
    }
  });
  for (int i = 0; i < rows; ++i)
    for (int j = round_up(range.end - range.begin, kLanes); j < kTileKeys; ++j) s.scores[i * kTileKeys + j] = 0;
  finish_scores(p, w, s, row, rows, range, bits);
  if (p.score.self) hide_minus_infinity(s, rows, bits);
}

/// O += P·V of a tile; what is hidden is stepped over where some row does not see every key. Asks for the values of the
/// next tile on the way.
inline void add_few(const Problem& p, const Piece& w, const Scratch& s, int rows, int padded, Range range,
                    const std::uint64_t* bits) {
  const int n = range.end - range.begin, ahead = at_most(w.keys - range.end, kTileKeys);
  const std::uint64_t full = n == kTileKeys ? kAllBits : (std::uint64_t{1} << n) - 1;
  bool all = true;
  for (int i = 0; i < rows; ++i) all = all && (bits[i] & full) == full;
  for (int j = 0; j < ahead; ++j) prefetch_row<0>(p.v, p.v_offset(w.batch, w.kv_head, range.end + j), p.value_dim);
  FewKeys{p, w, s}.values(range, [&](const auto& values) {
    if (all) {
      by_fours(rows, [&]<int Rows>(int i) {
        int d = 0;
        float* out = s.out + i * padded;
        for (; d + 4 * kLanes <= padded; d += 4 * kLanes)
          add_values<Rows, 4>(s.scores + i * kTileKeys, values, d, out, padded);
        for (; d < padded; d += kLanes) add_values<Rows, 1>(s.scores + i * kTileKeys, values, d, out, padded);
      });
      return;
    }
    for (int i = 0; i < rows; ++i)
      for (int d = 0; d < padded; d += kLanes) {
        Vec sum = 0.0f;  // the same sums in the same order as above
        for (int j = 0; j < n; ++j)
          if (bits[i] >> j & 1) sum = fma(s.scores[i * kTileKeys + j], load(values.row(j) + d), sum);
        store(s.out + i * padded + d, load(s.out + i * padded + d) + sum);
      }
  });
}

/// What one run of keys knows of its rows: base, l, O [rows, 2 + padded].
inline void save_split(const Scratch& s, int rows, int padded, float* partial) {
  for (int i = 0; i < rows; ++i) {
    float* to = partial + i * (padded + 2);
    to[0] = s.base[i], to[1] = reduce_add(load(s.sum + i * kLanes));
    for (int d = 0; d < padded; ++d) to[2 + d] = s.out[i * padded + d];
  }
}

/// Joins the runs of a piece: base = the greatest, l and O shrink to it. The monoid of softmax; its identity is (−∞, 0,
/// 0).
inline void merge_splits(const Problem& p, const Piece& w, const Scratch& s, int padded, const float* partials) {
  const int splits = splits_of(p, w.batch);
  for (int i = 0; i < w.rows; ++i) {
    const auto part = [&](int split) { return partials + (std::ptrdiff_t{split} * kFewRows + i) * (padded + 2); };
    float base = minus_infinity(), l = 0;
    for (int split = 0; split < splits; ++split)
      if (!(part(split)[0] <= base)) base = part(split)[0];  // a NaN is taken, and stays
    float* out = s.out + i * padded;
    for (int d = 0; d < padded; ++d) out[d] = 0;
    for (int split = 0; split < splits; ++split) {
      if (part(split)[0] == minus_infinity()) continue;
      float shrink[kLanes];
      store(shrink, exp2(Vec(part(split)[0] - base) * kLog2E));
      l += shrink[0] * part(split)[1];
      for (int d = 0; d < padded; ++d) out[d] += shrink[0] * part(split)[2 + d];
    }
    s.base[i] = base;
    store(s.sum + i * kLanes, 0.0f);
    s.sum[i * kLanes] = l;
  }
  finish_rows(p, w, s, padded, 0, w.rows);
}

/// Run `split` of a piece of few rows; `partials` null when it is the only one.
inline void forward_few(const Problem& p, const Piece& w, const Scratch& s, int padded, int split, float* partials) {
  begin_rows(p, w, s, padded, 0, w.rows);
  if (split > 0)
    for (int i = 0; i < w.rows; ++i) {  // the sink joins the first run alone
      s.base[i] = minus_infinity();
      store(s.sum + i * kLanes, 0.0f);
    }
  const Range span = visible_span(p, w);
  const int end = partials ? at_most(span.end, (split + 1) * kSplitKeys) : span.end;
  for (int key = at_least(span.begin, partials ? split * kSplitKeys : 0); key < end; key += kTileKeys) {
    const Range range{key, at_most(key + kTileKeys, w.keys)};
    std::uint64_t bits[kFewRows];
    if (!look_up_mask(p, w, 0, w.rows, range, bits)) continue;
    score_few(p, w, s, 0, w.rows, range, bits);
    softmax_strip(s, 0, w.rows, padded);
    add_few(p, w, s, w.rows, padded, range, bits);
  }
  if (partials)
    save_split(s, w.rows, padded, partials + std::ptrdiff_t{split} * kFewRows * (padded + 2));
  else
    finish_rows(p, w, s, padded, 0, w.rows);
}

}  // namespace fovea::FOVEA_ISA
