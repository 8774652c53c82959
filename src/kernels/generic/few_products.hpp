// The two products of few rows, on keys and values where they lie: a row of all heads after another, or four at a time.
//
// Where heads stand side by side, [time, kv_heads, dim], rows are one stream in memory's order, which is what memory
// and its own prefetchers do best. Beside each line that is read another some way on is asked for, at the pace of those
// that come (asking.hpp). Before they kept that pace a row came the faster the more it had to do: 32 rows of queries in
// f32, values at the rate of reads alone, keys at 80% of it; now both do.
//
// A row at a time every line of values has its sums read and written, every line of keys all queries read. Four at a
// time take half of that, but are four streams, or come long after they were asked for: faster from L3, and from memory
// where lines hold more numbers than f32, if a head has three or four rows of queries (fours_or_fewer). In bursts or
// further ahead than L1 holds lines came no faster on Zen 5, and head by head slower.
//
// Scores are dot products along the channels: kDims partial sums of each row and key, added up while they are turned.
#pragma once
#include "kernels/generic/asking.hpp"
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

/// What is asked for while a tile is read: its own rows `rows` further on, then those of the tile that is read next.
struct Due {
  const TileAt &now, &then;
  int rows;               // 0: nothing
  bool into_l2 = false;   // not to L1
  bool by_heads = false;  // one head after another (few_heads.hpp), not row by row
  bool paced = false;     // by a clock (asking.hpp)
  int head = 0;           // the first that is read
};

/// Rows of a tile of keys or values of some heads, wherever they lie.
template <class T>
struct TileRows {
  const T* data;              // of the first head
  std::ptrdiff_t head, time;  // from one head's row to the next's, from one key's to the next's
  const std::int64_t* at;     // [n] offsets of rows; null: they lie evenly
  int n, heads, dims;         // dims: of a row where it lies in memory; 0: rows are copies
  bool in_line;  // they are fours, each of whole lines that lie behind one another, of a head or of all of them
  const Due& due;
  const T* row(int j) const {
    const int k = at_most(j, n - 1);
    return data + (at ? at[k] : k * time);
  }
};

/// Whether a line of a row begins with channel d + v, if kBlock bytes are read at a time, from channel d on.
template <class T, int kBlock>
[[gnu::always_inline]] inline bool begins_line(int d, int v) {
  return (kBlock % 64 == 0 ? v : d + v) * static_cast<int>(sizeof(T)) % 64 == 0;
}

/// One, two or four of a tile's rows, of one head and then the next, four of them in line; and as many lines that are
/// due, to ask for meanwhile.
template <class T, int Together>
class HeadRows {
 public:
  static constexpr int kTogether = Together;
  /// Of rows [dims] from j on.
  HeadRows(const TileRows<T>& tile, int j, int dims) : head_(tile.head), into_l2_(tile.due.into_l2) {
    for (int k = 0; k < Together; ++k) row[k] = tile.row(j + k);
    due_ = reinterpret_cast<const char*>(row[0]);  // when nothing is left to ask for
    there_ = Together == 4 ? reinterpret_cast<const char*>(tile.row(at_most(j, tile.n - 4))) : due_;
    there_head_ = next_part(tile.head * std::ptrdiff_t{sizeof(T)}, dims);
    const int rows = tile.due.rows;
    if (rows > 0) find(tile.due, j + (Together == 4 ? round_up(rows, 4) : rows), dims);
  }
  void next_head() {
    for (int k = 0; k < Together; ++k) row[k] += head_;
    due_ += due_head_, there_ += there_head_;
  }
  /// Asks for a line where one of the k-th row's begins with channel d + v, if rows are read in turn, kBlock bytes each
  /// from channel d on: of four rows in line the next in memory, else the one that lies so in the row that is due.
  template <int kBlock>
  [[gnu::always_inline]] void ask(int k, int d, int v = 0) const {
    if (!begins_line<T, kBlock>(d, v)) return;
    const std::ptrdiff_t block = d * std::ptrdiff_t{sizeof(T)}, within = v * std::ptrdiff_t{sizeof(T)};
    if constexpr (Together == 4) {
      const std::ptrdiff_t next = 4 * block + k * (kBlock < 64 ? 64 : kBlock) + within;
      ask_for(due_ + next, there_ + next, into_l2_);
    } else {
      ask_for(due_ + k * due_row_ + block + within, row[k] + d + v, into_l2_);
    }
  }
  const T* row[Together];

 private:
  void find(const Due& due, int here, int dims) {
    const int past = here - due.now.n;
    const TileAt& from = past < 0 ? due.now : due.then;
    const int first = past < 0 ? here : past;
    if (first >= from.n) return;
    due_ = from.row(first) + due.head * from.head_bytes();
    due_head_ = next_part(from.head_bytes(), dims);
    if (Together == 2 && first + 1 < from.n) due_row_ = from.row(first + 1) - from.row(first);
  }
  /// From a head's part of what is asked for to the next one's: of four rows of all heads in line each has a quarter
  /// of a row's parts.
  static std::ptrdiff_t next_part(std::ptrdiff_t head, int dims) {
    const std::ptrdiff_t four_parts = 4 * dims * std::ptrdiff_t{sizeof(T)};
    return Together == 4 && head < four_parts ? four_parts : head;
  }

  std::ptrdiff_t head_, due_head_ = 0, due_row_ = 0, there_head_;
  bool into_l2_;
  const char *due_, *there_;  // rows that are due are taken to lie as those at hand do: it is a hint
};

/// body.template operator()<Together>(): whether Rows queries of a head meet four rows at a time, or as few as a
/// product takes. Plain C++ with its four lanes does not wait for memory: fours were no faster, and 86 KB of program.
template <int Rows, int Few, class T, class F>
[[gnu::always_inline]] inline void fours_or_fewer(bool fours, const TileRows<T>& tile, F body) {
  if constexpr (kLanes > 4 && (Rows > 2 || Rows == 1))
    if (fours && tile.in_line && (Rows > 1 || tile.head > tile.time)) return body.template operator()<4>();
  body.template operator()<Few>();
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
template <class O, int Rows, int Keys, int Columns, class K>
[[gnu::always_inline]] inline void meet_keys(const typename O::Number* q, int dims, const K& keys, int first,
                                             Vec (*sum)[Columns]) {
#pragma GCC unroll 4
  for (int k = 0; k < Keys; ++k)
#pragma GCC unroll 4
    for (int i = 0; i < Columns; ++i) sum[k][i] = 0.0f;
  constexpr int kBlock = O::kDims * static_cast<int>(sizeof(*keys.row[0]));
  const auto meet = [&](int d) __attribute__((always_inline)) {
    decltype(O::along(keys.row[0])) x[Keys];
#pragma GCC unroll 4
    for (int k = 0; k < Keys; ++k) x[k] = O::along(keys.row[first + k] + d);
#pragma GCC unroll 4
    for (int k = 0; k < Keys; ++k) keys.template ask<kBlock>(first + k, d);
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

template <class O, int Rows, int Together, class T>
inline void score_keys(const typename O::Number* q, std::ptrdiff_t next_q, int dims, Vec factor,
                       const TileRows<T>& keys, int j, float* scores, std::ptrdiff_t next_scores) {
  const auto score = Together == 4 ? score_fours<O, Rows, T> : score_ones<O, Rows, T>;
  score(q, next_q, dims, factor, keys, j, scores, next_scores);
}

/// sum [Rows][Vecs] += weights [Rows, 64] · the values at hand, of kLanes · Vecs channels from d on; if so asked, in an
/// order that O::order() makes memory's.
template <class O, int Rows, int Vecs, bool OwnOrder = false, class V>
[[gnu::always_inline]] inline void meet_values(const typename O::Number* weights, const V& values, int d,
                                               Vec (&sum)[Rows][Vecs]) {
  using S = Step<typename O::Number>;
  constexpr int kBlock = Vecs * kLanes * static_cast<int>(sizeof(*values.row[0]));
#pragma GCC unroll 4
  for (int k = 0; k < V::kTogether; k += S::kNumbers) {
    typename S::Right x[Vecs];
    if constexpr (OwnOrder) {
#pragma GCC unroll 2
      for (int v = 0; v < Vecs; v += 2) O::across_two(values.row + k, d + v * kLanes, x + v);
    } else {
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) x[v] = O::across(values.row + k, d + v * kLanes);
    }
#pragma GCC unroll 2
    for (int n = 0; n < S::kNumbers; ++n)
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) values.template ask<kBlock>(k + n, d, v * kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) {
      const auto weight = S::left(weights + i * kTileKeys + k);
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) sum[i][v] = S::add(sum[i][v], weight, x[v]);
    }
  }
}

/// sums [Rows, padded], kLanes · Vecs channels from d on, of weights [Rows, 64] and the values at hand; added to,
/// unless they are a tile's first.
template <class O, int Rows, int Vecs, class T, int Together>
[[gnu::always_inline]] inline void add_values(const typename O::Number* weights, const HeadRows<T, Together>& values,
                                              int d, bool first, float* sums, int padded) {
  Vec sum[Rows][Vecs];
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) sum[i][v] = first ? Vec(0.0f) : load(sums + i * padded + d + v * kLanes);
  meet_values<O>(weights, values, d, sum);
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) store(sums + i * padded + d + v * kLanes, sum[i][v]);
}

/// sums [heads, Rows, padded] of values from the j-th on as long as there are Together of them; the first that is left.
template <class O, int Rows, int Together, class T>
[[gnu::noinline]] inline int sum_values(const typename O::Number* weights, const TileRows<T>& values, int each, int j,
                                        float* sums, int padded) {
  for (; j + Together <= values.n; j += Together) {
    HeadRows<T, Together> row(values, j, padded);
    for (int h = 0; h < values.heads; ++h, row.next_head()) {
      const auto* weight = weights + h * each * kTileKeys + j;
      float* sum = sums + h * Rows * padded;
      int d = 0;
      for (; d + kTileVecs * kLanes <= padded; d += kTileVecs * kLanes)
        add_values<O, Rows, kTileVecs>(weight, row, d, j == 0, sum, padded);
      for (; d < padded; d += kLanes) add_values<O, Rows, 1>(weight, row, d, j == 0, sum, padded);
    }
  }
  return j;
}

/// out [heads, Rows, padded] += weights [heads, Rows, 64] · values; between one head's and the next lie `each` rows.
/// `sums` is scratch.
template <class O, int Rows, int Together, class T>
inline void add_tile(const typename O::Number* weights, const float* last_weights, const TileRows<T>& values, int each,
                     float* sums, float* out, int padded) {
  constexpr int kNumbers = Step<typename O::Number>::kNumbers;  // keys whose values meet weights in one product
  int whole = sum_values<O, Rows, Together>(weights, values, each, 0, sums, padded);
  if constexpr (Together > kNumbers) whole = sum_values<O, Rows, kNumbers>(weights, values, each, whole, sums, padded);
  for (int h = 0; h < values.heads; ++h)
    for (int i = 0; i < Rows; ++i)
      for (int d = 0; d < padded; d += kLanes) {
        Vec all = whole > 0 ? load(sums + (h * Rows + i) * padded + d) : Vec(0.0f);
        for (int j = whole; j < values.n; ++j)
          all = fma(last_weights[(h * each + i) * kTileKeys + j], load(values.row(j) + h * values.head + d), all);
        float* to = out + (h * each + i) * padded + d;
        store(to, load(to) + all);
      }
}

}  // namespace fovea::FOVEA_ISA
