// The two products of few rows, on keys and values where they lie: a row of all heads after another, or four at a time.
//
// Where heads stand side by side, [time, kv_heads, dim], rows are one stream in memory's order, which is what memory
// and its own prefetchers do best. Beside each line that is read another some 8 KB on is asked for. On Zen 5, 32 rows
// of 8 KV heads in f32, a row at a time: values come as fast as reads alone, keys at 80% of that; four at a time, four
// streams, at 60%. But a row at a time every line of values has its sums read and written, and every line of keys all
// queries read, so where lines hold more numbers or rows are short, four are faster (ones_or_fours). In bursts,
// further ahead than L1 holds, or to L2 first lines came no faster, and head by head slower.
//
// Scores are dot products along the channels: kDims partial sums of each row and key, added up while they are turned.
#pragma once
#include "kernels/generic/operands.hpp"

namespace fovea::FOVEA_ISA {

/// Where a tile's rows of k or v start, of the first KV head of a piece.
struct TileAt {
  const Operand* x;
  int n;
  std::int64_t first = 0, at[kTileKeys];  // at: of a cache in pages; else rows lie x->time apart from the first on
  TileAt(const Problem& p, const Piece& w, const Operand& of, Range keys)
      : x(&of), n(at_least(0, keys.end - keys.begin)) {
    if (of.table)
      find_rows(p, w, of, keys.begin, n, at);
    else
      first = p.row_of(of, w.batch, w.kv_head, keys.begin);
  }
  std::int64_t offset(int j) const { return x->table ? at[j] : first + j * x->time; }
  const char* row(int j) const { return static_cast<const char*>(x->data) + offset(j) * size_of(x->dtype); }
  std::ptrdiff_t head_bytes() const { return x->head * size_of(x->dtype); }
};

/// How far on rows are asked for that lie in line, one or four at a time: less than stays in L1.
inline constexpr int kBytesAhead = 8 << 10, kBytesAheadOfFour = 12 << 10;

/// What is asked for while a tile is read: its own rows some way on, then those of the tile that is read next.
struct Due {
  const TileAt &now, &then;
  int rows;      // how far on, of four at a time twice as far; 0: not at all
  int head = 0;  // the first that is read
  /// Of four at a time. Where they lie in line, one head's or all heads' side by side: bytes from one to the next; and
  /// instead of `rows` how far on, where all do.
  std::ptrdiff_t run = 0, bytes = 0;
};

/// Rows of a tile of keys or values of some heads, wherever they lie.
template <class T>
struct TileRows {
  const T* data;              // of the first head
  std::ptrdiff_t head, time;  // from one head's row to the next's, from one key's to the next's
  const std::int64_t* at;     // [n] offsets of rows; null: they lie evenly
  int n, heads;
  Due due;
  const T* row(int j) const {
    const int k = at_most(j, n - 1);
    return data + (at ? at[k] : k * time);
  }
  bool apart() const { return head > time; }  // each head's rows lie by themselves
};

/// One, two or four of a tile's rows, of one head and then the next; and as many lines that are due, to ask for
/// meanwhile.
template <class T, int Together>
class HeadRows {
 public:
  /// Of rows [dims] from j on.
  HeadRows(const TileRows<T>& tile, int j, int dims) : head_(tile.head) {
    for (int k = 0; k < Together; ++k) row[k] = tile.row(j + k);
    due_ = reinterpret_cast<const char*>(row[0]);  // when nothing is left to ask for
    const Due& due = tile.due;
    if (Together == 4 && due.bytes > 0)
      find_in_line(due, j);
    else if (due.rows > 0)
      find(due, j + (Together == 4 ? round_up(2 * due.rows, 4) : due.rows));
    if (Together != 4 || due.run == 0) return;
    const std::ptrdiff_t part = dims * std::ptrdiff_t{sizeof(T)};
    in_line_ = 4, due_head_ = due.run == part ? due.now.head_bytes() : 4 * part;
  }
  void next_head() {
    for (int k = 0; k < Together; ++k) row[k] += head_;
    due_ += due_head_;
  }
  /// Asks for a line instead of that of the k-th row with channel d + v, where one begins there. In line the next in
  /// memory, if rows are read in turn, kBlock bytes each from channel d on; else the one that lies so in the row that
  /// is due.
  template <int kBlock>
  [[gnu::always_inline]] void ask(int k, int d, int v = 0) const {
    const std::ptrdiff_t block = d * std::ptrdiff_t{sizeof(T)}, within = v * std::ptrdiff_t{sizeof(T)};
    if ((block + within) % 64 != 0) return;
    __builtin_prefetch(due_ + block * in_line_ + k * (in_line_ == 4 ? kBlock : due_row_) + within, 0, 3);
  }
  const T* row[Together];

 private:
  void find(const Due& due, int here) {
    const int past = here - due.now.n;
    const TileAt& from = past < 0 ? due.now : due.then;
    const int first = past < 0 ? here : past, last = at_most(first + Together - 1, from.n - 1);
    if (first > last) return;
    due_ = from.row(first) + due.head * from.head_bytes();
    due_row_ = last > first ? from.row(first + 1) - from.row(first) : 0;
    due_head_ = from.head_bytes();
  }
  void find_in_line(const Due& due, int j) {
    const std::ptrdiff_t on = j * due.run + due.bytes, past = on - due.now.n * due.run;
    if (past < 0)
      due_ = due.now.row(0) + on;
    else if (due.then.n > 0)
      due_ = due.then.row(0) + past;
  }

  std::ptrdiff_t head_, due_row_ = 0, due_head_ = 0;  // rows that are due are taken to lie evenly: it is a hint
  std::ptrdiff_t in_line_ = 1;                        // 4: so many rows' blocks lie behind one another
  const char* due_;
};

/// body.template operator()<Four>(): whether Rows queries of a head meet four rows at a time, or one of keys, and of
/// values one of f32 or two of what is narrower.
template <int Rows, class T, class F>
[[gnu::always_inline]] inline void ones_or_fours(const TileRows<T>& tile, F body) {
  if constexpr (sizeof(T) < 4 && Rows > 2)
    return body.template operator()<true>();
  else if constexpr (Rows == 1)
    if (tile.apart()) return body.template operator()<true>();
  body.template operator()<false>();
}

/// body.template operator()<Rows>(first row) over `rows` rows, at most 4 at a time.
template <class F>
[[gnu::always_inline]] inline void by_fours(int rows, F body) {
  int i = 0;
  for (; i + 4 <= rows; i += 4) body.template operator()<4>(i);
  if (rows - i == 3) body.template operator()<3>(i);
  if (rows - i == 2) body.template operator()<2>(i);
  if (rows - i == 1) body.template operator()<1>(i);
}

/// sum [Keys][Rows] of Rows queries [dims] and keys from the first-th of those at hand on, kDims channels apart.
template <class O, int Rows, int Keys, int Columns, class T, int Together>
[[gnu::always_inline]] inline void meet_keys(const typename O::Number* q, int dims, const HeadRows<T, Together>& keys,
                                             int first, Vec (*sum)[Columns]) {
#pragma GCC unroll 4
  for (int k = 0; k < Keys; ++k)
#pragma GCC unroll 4
    for (int i = 0; i < Columns; ++i) sum[k][i] = 0.0f;
  const auto meet = [&](int d) __attribute__((always_inline)) {
    decltype(O::along(keys.row[0])) x[Keys];
#pragma GCC unroll 4
    for (int k = 0; k < Keys; ++k) x[k] = O::along(keys.row[first + k] + d);
#pragma GCC unroll 4
    for (int k = 0; k < Keys; ++k) keys.template ask<64>(first + k, d);
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
      const auto channels = O::along(q + i * dims + d);
#pragma GCC unroll 4
      for (int k = 0; k < Keys; ++k) sum[k][i] = O::add_along(sum[k][i], x[k], channels);
    }
  };
  int d = 0;
  if constexpr (Keys == 1)  // (four keys of bf16 unrolled like this came a tenth slower from memory)
    for (; d + 4 * O::kDims <= dims; d += 4 * O::kDims)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) meet(d + i * O::kDims);
  for (; d < dims; d += O::kDims) meet(d);
}

/// scores [heads, Rows, kLanes] of q [heads, Rows, dims] and keys from j0 on, four at a time; what lies between heads
/// is given. kTileVecs keys at a time: with 4 rows as many chains of FMAs as a register tile has.
template <class O, int Rows, class T>
inline void score_fours(const typename O::Number* q, std::ptrdiff_t next_q, int dims, Vec factor,
                        const TileRows<T>& keys, int j0, float* scores, std::ptrdiff_t next_scores) {
  Vec fours[kStrip][kLanes / 4];
  for (int j = 0; j < kLanes; j += 4) {
    HeadRows<T, 4> four(keys, j0 + j, dims);
    const auto* query = q;
    for (int h = 0; h < keys.heads; ++h, query += next_q, four.next_head()) {
      Vec part[4][Rows];
#pragma GCC unroll 2
      for (int first = 0; first < 4; first += kTileVecs)
        meet_keys<O, Rows, kTileVecs>(query, dims, four, first, part + first);
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i)
        fours[h * Rows + i][j / 4] = fold_four({part[0][i], part[1][i], part[2][i], part[3][i]});
    }
  }
  for (int h = 0; h < keys.heads; ++h)
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i)
      store(scores + h * next_scores + i * kTileKeys + j0, sums_of(fours[h * Rows + i]) * factor);
}

/// The same a key at a time: rows are added up together, which takes an eighth of the memory.
template <class O, int Rows, class T>
inline void score_ones(const typename O::Number* q, std::ptrdiff_t next_q, int dims, Vec factor,
                       const TileRows<T>& keys, int j0, float* scores, std::ptrdiff_t next_scores) {
  constexpr int kKeys = kLanes / 4;
  Vec fours[kStrip][kKeys];
  for (int j = j0; j < j0 + kLanes; j += kKeys) {
    for (int k = 0; k < kKeys; ++k) {
      HeadRows<T, 1> key(keys, j + k, dims);
      const auto* query = q;
      for (int h = 0; h < keys.heads; ++h, query += next_q, key.next_head()) {
        Vec part[1][4];
        meet_keys<O, Rows, 1>(query, dims, key, 0, part);
        fours[h][k] = fold_four(part[0]);
      }
    }
    for (int h = 0; h < keys.heads; ++h) {
      float sums[kLanes];  // [kKeys, 4]
      store(sums, sums_of(fours[h]) * factor);
      for (int i = 0; i < Rows; ++i)
        for (int k = 0; k < kKeys; ++k) scores[h * next_scores + i * kTileKeys + j + k] = sums[4 * k + i];
    }
  }
}

template <class O, int Rows, bool Four, class T>
inline void score_keys(const typename O::Number* q, std::ptrdiff_t next_q, int dims, Vec factor,
                       const TileRows<T>& keys, int j, float* scores, std::ptrdiff_t next_scores) {
  const auto score = Four ? score_fours<O, Rows, T> : score_ones<O, Rows, T>;
  score(q, next_q, dims, factor, keys, j, scores, next_scores);
}

/// sums [Rows, Vecs·kLanes] of weights [Rows, 64] and channels from d on of the values at hand; added to, unless they
/// are a tile's first.
template <class O, int Rows, int Vecs, class T, int Together>
[[gnu::always_inline]] inline void add_values(const typename O::Number* weights, const HeadRows<T, Together>& values,
                                              int d, bool first, float* sums) {
  Vec sum[Rows][Vecs];
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) sum[i][v] = first ? Vec(0.0f) : load(sums + (i * Vecs + v) * kLanes);
  constexpr int kBlock = Vecs * kLanes * static_cast<int>(sizeof(T));
  if constexpr (Together == 1) {
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) {
      const Vec x = load(values.row[0] + d + v * kLanes);
      values.template ask<kBlock>(0, d, v * kLanes);
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) sum[i][v] = fma(weights[i * kTileKeys], x, sum[i][v]);
    }
  }
#pragma GCC unroll 2
  for (int k = 0; k + 2 <= Together; k += 2) {
    decltype(O::first_of_two(
        values.row[0])) x[Vecs];  // a row's lines after another's: in turn, memory was slower by a third
    const auto read = [&](int row, auto from) {
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) {
        x[v] = from(x[v], values.row[row] + d + v * kLanes);
        values.template ask<kBlock>(row, d, v * kLanes);
      }
    };
    read(k, [](const auto&, const T* row) { return O::first_of_two(row); });
    read(k + 1, [](const auto& two, const T* row) { return O::second_of_two(two, row); });
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
      const auto weight = O::two_weights(weights + i * kTileKeys + k);
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) sum[i][v] = O::add_two(sum[i][v], x[v], weight);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) store(sums + (i * Vecs + v) * kLanes, sum[i][v]);
}

/// body.template operator()<Vecs>(first column) over `columns` columns, kTileVecs vectors at a time, then one.
template <class F>
[[gnu::always_inline]] inline void by_columns(int columns, F body) {
  int d = 0;
  for (; d + kTileVecs * kLanes <= columns; d += kTileVecs * kLanes) body.template operator()<kTileVecs>(d);
  for (; d < columns; d += kLanes) body.template operator()<1>(d);
}

/// sums [heads · Rows · padded], column by column as registers hold them, of values from the j-th on as long as there
/// are Together of them; the first that is left.
template <class O, int Rows, int Together, class T>
[[gnu::always_inline]] inline int sum_values(const typename O::Number* weights, const TileRows<T>& values, int each,
                                             int j, float* sums, int padded) {
  for (; j + Together <= values.n; j += Together) {
    HeadRows<T, Together> row(values, j, padded);
    for (int h = 0; h < values.heads; ++h, row.next_head()) {
      const auto* weight = weights + h * each * kTileKeys + j;
      float* sum = sums + h * Rows * padded;
      by_columns(padded, [&]<int Vecs>(int d) { add_values<O, Rows, Vecs>(weight, row, d, j == 0, sum + d * Rows); });
    }
  }
  return j;
}

/// out [heads, Rows, padded] += weights [heads, Rows, 64] · values; between one head's and the next lie `each` rows.
/// `sums` is scratch.
template <class O, int Rows, bool Four, class T>
inline void add_tile(const typename O::Number* weights, const float* last_weights, const TileRows<T>& values, int each,
                     float* sums, float* out, int padded) {
  int whole = 0;
  if constexpr (Four) whole = sum_values<O, Rows, 4>(weights, values, each, whole, sums, padded);
  whole = sum_values<O, Rows, 4 / sizeof(T)>(weights, values, each, whole, sums, padded);
  for (int h = 0; h < values.heads; ++h)
    by_columns(padded, [&]<int Vecs>(int d) {
      const float* sum = sums + h * Rows * padded + d * Rows;
      for (int i = 0; i < Rows; ++i)
        for (int v = 0; v < Vecs; ++v) {
          const int at = d + v * kLanes;
          Vec all = whole > 0 ? load(sum + (i * Vecs + v) * kLanes) : Vec(0.0f);
          for (int j = whole; j < values.n; ++j)
            all = fma(last_weights[(h * each + i) * kTileKeys + j], load(values.row(j) + h * values.head + at), all);
          float* to = out + (h * each + i) * padded + at;
          store(to, load(to) + all);
        }
    });
}

}  // namespace fovea::FOVEA_ISA
