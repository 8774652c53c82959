// The two products of few rows, on keys and values where they lie: four keys of all heads at a time.
//
// Where heads stand side by side, [time, kv_heads, dim], four keys are four streams that run on from head to head,
// which is what memory and its own prefetchers do best (Zen 5: head by head, 16 keys or a tile at a time, lost a fifth
// to two fifths, fewer heads together as much). Beside them what lies some 12 KB ahead is asked for, a line for each
// that is read, in memory's order: 22 GB/s became 26; in bursts, further ahead than L1 holds, or to L2 first it came
// no faster.
//
// Scores are dot products along the channels: kDims partial sums for each key, then added up while they are turned.
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

inline constexpr int kBytesAhead = 12 << 10;  // of rows that lie in line; less than stays in L1

/// What is asked for while a tile is read: its own rows some way on, then those of the tile that is read next.
struct Due {
  const TileAt &now, &then;
  int rows;      // how far on, a multiple of 4; 0: not at all
  int head = 0;  // the first that is read
  /// Where four rows lie in line, one head's or all heads' side by side: bytes from one to the next; and instead of
  /// `rows` how far on, where all do.
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
};

/// Four of a tile's rows, of one head and then the next; and as many lines that are due, to ask for meanwhile.
template <class T>
class FourRows {
 public:
  /// Of rows [dims] from j on.
  FourRows(const TileRows<T>& tile, int j, int dims) : head_(tile.head) {
    for (int k = 0; k < 4; ++k) row[k] = tile.row(j + k);
    due_ = reinterpret_cast<const char*>(row[0]);  // when nothing is left to ask for
    const Due& due = tile.due;
    if (due.bytes > 0)
      find_in_line(due, j);
    else
      find(due, j + due.rows);
    if (due.run == 0) return;
    const std::ptrdiff_t part = dims * std::ptrdiff_t{sizeof(T)};
    in_line_ = 4, due_head_ = due.run == part ? due.now.head_bytes() : 4 * part;
  }
  void next_head() {
    for (int k = 0; k < 4; ++k) row[k] += head_;
    due_ += due_head_;
  }
  /// Asks for a line instead of that of the k-th row with channel d + v. In line the next in memory, if rows are read
  /// in turn, kBlock bytes each from channel d on; else the one that lies so in the row that is due.
  template <int kBlock>
  void ask(int k, int d, int v = 0) const {
    const std::ptrdiff_t block = d * std::ptrdiff_t{sizeof(T)}, within = v * std::ptrdiff_t{sizeof(T)};
    __builtin_prefetch(due_ + block * in_line_ + k * (in_line_ == 4 ? kBlock : due_row_) + within, 0, 3);
  }
  const T* row[4];

 private:
  void find(const Due& due, int here) {
    const int past = here - due.now.n;
    const TileAt& from = past < 0 ? due.now : due.then;
    const int first = past < 0 ? here : past, last = at_most(first + 3, from.n - 1);
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

/// scores [heads, Rows, kLanes] of q [heads, Rows, dims] and keys from j0 on; what lies between heads is given.
/// kTileVecs keys at a time: with 4 rows as many chains of FMAs as a register tile has.
template <class O, int Rows, class T>
inline void dot_unit(const typename O::Number* q, std::ptrdiff_t next_q, int dims, Vec factor, const TileRows<T>& keys,
                     int j0, float* scores, std::ptrdiff_t next_scores) {
  Vec fours[kStrip][kLanes / 4];
  for (int j = 0; j < kLanes; j += 4) {
    FourRows<T> four(keys, j0 + j, dims);
    const auto* query = q;
    for (int h = 0; h < keys.heads; ++h, query += next_q, four.next_head()) {
      Vec part[Rows][4];  // of row i and key k, kDims channels apart
#pragma GCC unroll 2
      for (int first = 0; first < 4; first += kTileVecs) {
        Vec sum[Rows][kTileVecs];
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
          for (int k = 0; k < kTileVecs; ++k) sum[i][k] = 0.0f;
        for (int d = 0; d < dims; d += O::kDims) {
          decltype(O::along(q)) x[kTileVecs];
#pragma GCC unroll 4
          for (int k = 0; k < kTileVecs; ++k) x[k] = O::along(four.row[first + k] + d);
          if (d * std::ptrdiff_t{sizeof(T)} % 64 == 0)
#pragma GCC unroll 4
            for (int k = 0; k < kTileVecs; ++k) four.template ask<64>(first + k, d);
#pragma GCC unroll 4
          for (int i = 0; i < Rows; ++i) {
            const auto channels = O::along(query + i * dims + d);
#pragma GCC unroll 4
            for (int k = 0; k < kTileVecs; ++k) sum[i][k] = O::add_along(sum[i][k], x[k], channels);
          }
        }
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
          for (int k = 0; k < kTileVecs; ++k) part[i][first + k] = sum[i][k];
      }
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) fours[h * Rows + i][j / 4] = fold_four(part[i]);
    }
  }
  for (int h = 0; h < keys.heads; ++h)
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i)
      store(scores + h * next_scores + i * kTileKeys + j0, sums_of(fours[h * Rows + i]) * factor);
}

/// sums [Rows, Vecs·kLanes] of weights [Rows, 4] and four rows of values; added to, unless they are a tile's first.
template <class O, int Rows, int Vecs, class T>
[[gnu::always_inline]] inline void add_values(const typename O::Number* weights, const FourRows<T>& values, int d,
                                              bool first, float* sums) {
  Vec sum[Rows][Vecs];
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) sum[i][v] = first ? Vec(0.0f) : load(sums + (i * Vecs + v) * kLanes);
  constexpr int kBlock = Vecs * kLanes * static_cast<int>(sizeof(T));
#pragma GCC unroll 2
  for (int k = 0; k < 4; k += 2) {
    decltype(O::first_of_two(
        values.row[0])) x[Vecs];  // a row's lines after another's: in turn, memory was slower by a third
    const auto read = [&](int row, auto from) {
#pragma GCC unroll 4
      for (int v = 0; v < Vecs; ++v) {
        const int at = d + v * kLanes;
        x[v] = from(x[v], values.row[row] + at);
        if (v * kLanes * std::ptrdiff_t{sizeof(T)} % 64 == 0) values.template ask<kBlock>(row, d, v * kLanes);
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

/// out [heads, Rows, padded] += weights [heads, Rows, n] · values; between one head's and the next lie `each` rows.
/// `sums` [heads · Rows · padded] is scratch: a tile's sums, column by column as registers hold them.
template <class O, int Rows, class T>
inline void add_tile(const typename O::Number* weights, const float* last_weights, const TileRows<T>& values, int each,
                     float* sums, float* out, int padded) {
  const int fours = values.n / 4 * 4;
  for (int j = 0; j < fours; j += 4) {
    FourRows<T> four(values, j, padded);
    for (int h = 0; h < values.heads; ++h, four.next_head()) {
      const auto* weight = weights + h * each * kTileKeys + j;
      float* sum = sums + h * Rows * padded;
      by_columns(padded, [&]<int Vecs>(int d) { add_values<O, Rows, Vecs>(weight, four, d, j == 0, sum + d * Rows); });
    }
  }
  for (int h = 0; h < values.heads; ++h)
    by_columns(padded, [&]<int Vecs>(int d) {
      const float* sum = sums + h * Rows * padded + d * Rows;
      for (int i = 0; i < Rows; ++i)
        for (int v = 0; v < Vecs; ++v) {
          const int at = d + v * kLanes;
          Vec all = fours > 0 ? load(sum + (i * Vecs + v) * kLanes) : Vec(0.0f);
          for (int j = fours; j < values.n; ++j)
            all = fma(last_weights[(h * each + i) * kTileKeys + j], load(values.row(j) + h * values.head + at), all);
          float* to = out + (h * each + i) * padded + at;
          store(to, load(to) + all);
        }
    });
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

}  // namespace fovea::FOVEA_ISA
