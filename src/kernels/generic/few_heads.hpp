// The two products of few rows on a tile of keys or values, one head after another: where L1 is small (asking.hpp finds
// out), for what lies in L3, for many rows, and from memory for four and for numbers of 16 bits whose heads lie apart.
//
// A head's queries stay in L1, or in registers where there is room, and its sums in registers. Row by row
// (few_products.hpp) those of all heads come and go with every few keys: 32 KB at 32 rows of 128 channels, all that L1
// of Zen 4 has, so that even keys in L2 were met at 27 GB/s, by heads at 44. Each line is asked for a tile ahead.
// Products from L2 are faster than memory, and lines that are asked for at their pace make each other wait: 17 GB/s;
// with a clock 24 to 27 (asking.hpp). Even then some seem not to come; those of a tile's rows from the 16th on are
// asked for once more 16 rows before their use
// (heads apart bf16 27 → 30 GB/s, f32 24 → 27, side by side 25 → 27.5 and 23 → 25.5). Nobody asks while scores become
// weights, so each head's do beside its own products, not all heads' at once, while lines that are on their way still
// come (4 rows of 64 scores take some 300 cycles, a line from memory 400). For vectors of 16 lanes, where it was
// measured; without them it would be 110 KB of program more.
//
// A head's rows lie evenly apart, which the machine's own prefetcher sees: a load that has gone as far twice is
// foreseen, also beyond the end of a page of a cache, where lines come that nobody wants (32 / 8 heads in pages of 16,
// bf16 15 GB/s in no order, 24 in memory's). So in pages no load goes as far twice: keys are met in an order of their
// own, and values, whose sums have one order, by two copies of a loop in turns that don't repeat (15 → 21 → 25 GB/s).
// What is widened as it is read has no such copies: its products take as long as memory does.
#pragma once
#include "kernels/generic/few_products.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kAskedAgain = 16;  // rows before their use (Zen 4: 4 or 8 win half of it, f32 24 or 32 too)

/// The place in a tile of the keys in pages that are met in j-th place, by fours: 0, 8, 4, 12, and so on from 16.
constexpr int met_in_turn(int j) { return (j & ~12) | (j & 4) << 1 | (j & 8) >> 1; }

/// Which of two copies of a loop is to take step i < 64: the Thue–Morse sequence, in which neither is taken three times
/// at even distances.
constexpr bool takes_other(int i) { return std::uint64_t{0x6996966996696996} >> i & 1; }

/// Where a tile's rows lie, which are read `width` channels at a time, and lines of the tile that is read next, to be
/// asked for beside each of them. Where a row of all heads lies in one stretch, it is asked for as a whole, beside as
/// many rows as it has parts; likewise a head's row that is read in several passes (Zen 4, 8 heads side by side, values
/// of bf16 by themselves: 23 → 27 GB/s); else as the rows at hand are read. In pages so too, where none ends within the
/// rows that a part asks for.
template <class T>
struct TileAndNext {
  const T* row[kTileKeys];  // of the first head, in the order in which they are read; next heads `head` numbers on
  std::ptrdiff_t head;
  const char* due[kTileKeys];          // beside the first head's rows in the first pass
  std::ptrdiff_t due_part[kTileKeys];  // of whole rows: bytes from there to what is due beside a later part
  std::ptrdiff_t due_head;             // and from one head's to the next's, where they are no parts of a row
  int width, head_parts = 0;           // head_parts: how many parts of a row are a head's; 0: heads are no parts
  bool whole_rows, in_pages, paced;
  std::ptrdiff_t again[kTileKeys];  // bytes from a row to that which is asked for once more

  [[gnu::noinline]] TileAndNext(const TileRows<T>& tile, int width, bool keys)
      : head(tile.head),
        due_head(tile.due.then.head_bytes()),
        width(width),
        in_pages(tile.at != nullptr),
        paced(tile.due.paced) {
    for (int j = 0; j < kTileKeys; ++j) row[j] = tile.row(j);
    for (int j = 0; j < kTileKeys && keys && in_pages; ++j) row[j] = tile.row(met_in_turn(j));
    for (int j = 0; j < kTileKeys; ++j)
      again[j] = j + kAskedAgain < kTileKeys ? (row[j + kAskedAgain] - row[j]) * std::ptrdiff_t{sizeof(T)} : 0;
    const TileAt& next = tile.due.then;
    const std::ptrdiff_t first = tile.due.head * due_head, size = size_of(next.x->dtype);
    const bool together = next.x->head == tile.dims;
    const int passes = tile.dims / width, parts = together ? passes * tile.heads : passes;
    whole_rows = parts > 0 && tile.dims % width == 0 && kTileKeys % parts == 0 && lie_evenly(next, kTileKeys / parts);
    if (whole_rows) {
      const int shift = __builtin_ctz(parts), rows = kTileKeys >> shift;
      const std::ptrdiff_t row_bytes = next.x->time * size, part = width * size;
      const char* start = next.row(0) + first;
      for (int j = 0; j < kTileKeys; ++j) due[j] = start + (j >> shift) * row_bytes + (j & (parts - 1)) * part;
      for (int i = 0; i < parts; ++i) due_part[i] = next.row(i * rows) - next.row(0);
      if (together) head_parts = passes, due_head = 0;
    } else {
      for (int j = 0; j < kTileKeys; ++j)
        due[j] = next.n > 0 ? next.row(at_most(j, next.n - 1)) + first : reinterpret_cast<const char*>(row[j]);
    }
  }
  /// From what is due beside the first head's rows in the first pass to that beside the h-th head's from channel d on,
  /// less d channels.
  std::ptrdiff_t ahead(int h, int d) const {
    if (!whole_rows) return h * due_head;
    return h * due_head + due_part[h * head_parts + (d > 0 ? d / width : 0)] - d * std::ptrdiff_t{sizeof(T)};
  }
  /// The place in the tile of the keys that are met in j-th place.
  int met_at(int j) const { return in_pages ? met_in_turn(j) : j; }

 private:
  /// Whether a tile is whole, and of its rows as many as are said lie behind one another, and so on.
  static bool lie_evenly(const TileAt& tile, int rows) {
    if (tile.n < kTileKeys) return false;
    for (int j = 0; tile.x->table && j < kTileKeys; j += rows)
      if (tile.at[j + rows - 1] - tile.at[j] != (rows - 1) * tile.x->time) return false;
    return true;
  }
};

/// Whether `rows` rows of a head may meet numbers of `size` bytes about as fast as memory gives them, or faster, so
/// that lines are asked for by a clock. Fewer than four rows of f32, or of what is widened, have none.
template <class O>
constexpr bool may_outrun_memory(int rows, std::size_t size) {
  return rows == 4 || (rows < 4 && size == 2 && size == sizeof(typename O::Number));
}

/// Together rows of a head from the j-th on, and the lines that are asked for meanwhile, `ahead` of those that are due
/// beside the first head's. The clock is this distance: it stays what it is, but who needs it waits.
template <class O, int Rows, class T, int Together>
struct RowsAndDue {
  static constexpr int kTogether = Together;
  const T* row[Together];
  const char* due[Together];
  std::ptrdiff_t again;
  bool paced;
  std::ptrdiff_t& ahead;

  [[gnu::always_inline]] RowsAndDue(const TileAndNext<T>& tile, int h, int j, std::ptrdiff_t& ahead)
      : again(tile.again[j]), paced(tile.paced), ahead(ahead) {
#pragma GCC unroll 4
    for (int k = 0; k < Together; ++k) {
      row[k] = tile.row[j + k] + h * tile.head;
      due[k] = tile.due[j + k];
    }
  }
  /// As HeadRows has it. Without a clock numbers that are widened wait for the line at hand (from memory f16 of heads
  /// apart 21 GB/s, by a clock 20; side by side 19, by a clock 21).
  template <int kBlock>
  [[gnu::always_inline]] void ask(int k, int d, int v = 0) const {
    if (!begins_line<T, kBlock>(d, v)) return;
    const char* line = reinterpret_cast<const char*>(row[k] + d + v);
    const char* wanted = due[k] + (d + v) * std::ptrdiff_t{sizeof(T)};
    if constexpr (sizeof(T) != sizeof(typename O::Number))
      if (!may_outrun_memory<O>(Rows, sizeof(T)) || !paced) return ask_for(wanted + ahead, line, true);
    if constexpr (may_outrun_memory<O>(Rows, sizeof(T))) ahead = a_line_later(ahead, paced, line + again);
    __builtin_prefetch(wanted + ahead, 0, 2);
  }
};

/// sum [2][Rows] of Rows queries, which are at hand in Parts of kDims channels, and two keys from the first-th on.
template <class O, int Rows, int Parts, class Channels, class K>
[[gnu::always_inline]] inline void meet_two_keys(const Channels (&q)[Rows][Parts], const K& keys, int first,
                                                 Vec (*sum)[Rows]) {
  constexpr int kBlock = O::kDims * static_cast<int>(sizeof(*keys.row[0]));
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k)
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) sum[k][i] = 0.0f;
#pragma GCC unroll 8
  for (int c = 0; c < Parts; ++c)
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const auto x = O::along(keys.row[first + k] + c * O::kDims);
      keys.template ask<kBlock>(first + k, c * O::kDims);
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) sum[k][i] = O::add_along(sum[k][i], x, q[i][c]);
    }
}

/// Whether Rows queries of so many channels stay in half of the registers, and keys are not widened besides.
template <class O, int Rows, class T>
constexpr bool queries_stay(int dims) {
  return Rows > 1 && Rows * dims <= 16 * O::kDims && sizeof(T) == sizeof(typename O::Number);
}

/// scores [Rows, 64] of q [Rows, dims] and the n keys of the h-th head. Where queries stay, Dims is dims; else 0.
template <class O, int Rows, int Dims, class T>
inline void score_head(const typename O::Number* q, int dims, Vec factor, const TileAndNext<T>& keys, int n, int h,
                       float* scores) {
  constexpr int kParts = Dims / O::kDims;
  decltype(O::along(q)) at_hand[Rows][at_least(1, kParts)];
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int c = 0; c < kParts; ++c) at_hand[i][c] = O::along(q + i * Dims + c * O::kDims);
  std::ptrdiff_t ahead = keys.ahead(h, 0);
  for (int j = 0; j < round_up(n, kLanes); j += 4) {
    const RowsAndDue<O, Rows, T, 4> four(keys, h, j, ahead);
    Vec part[4][Rows], fours[kLanes / 4];
    if constexpr (kParts > 0) {
      meet_two_keys<O>(at_hand, four, 0, part);
      meet_two_keys<O>(at_hand, four, 2, part + 2);
    } else {
      meet_keys<O, Rows, 4>(q, dims, four, 0, part);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kLanes / 4; ++i)
      fours[i] = i < Rows ? fold_four({part[0][i], part[1][i], part[2][i], part[3][i]}) : Vec(0.0f);
    store_fours<Rows>(scores + keys.met_at(j), kTileKeys, sums_of(fours) * factor);
  }
}

/// By itself: within another function GCC 12 moves the queries to the stack.
template <class O, int Rows, int Dims, class T>
[[gnu::noinline]] void score_head_alone(const typename O::Number* q, Vec factor, const TileAndNext<T>& keys, int n,
                                        int h, float* scores) {
  score_head<O, Rows, Dims>(q, Dims, factor, keys, n, h, scores);
}

/// scores [heads, each, 64] of q [heads, each, dims] and a tile of keys: the bits of score_keys(). then(h) once those
/// of the h-th head are there.
template <class O, class T, class F>
inline void score_heads(const typename O::Number* q, int each, int dims, Vec factor, const TileRows<T>& keys,
                        float* scores, F then) {
  const TileAndNext<T> tile(keys, dims, true);
  for (int h = 0; h < keys.heads; ++h) {
    by_fours(each, [&]<int Rows>(int i) {
      const auto* query = q + (h * each + i) * dims;
      float* to = scores + (h * each + i) * kTileKeys;
      if constexpr (queries_stay<O, Rows, T>(64))
        if (dims == 64) return score_head_alone<O, Rows, 64>(query, factor, tile, keys.n, h, to);
      if constexpr (queries_stay<O, Rows, T>(128))
        if (dims == 128) return score_head_alone<O, Rows, 128>(query, factor, tile, keys.n, h, to);
      score_head<O, Rows, 0>(query, dims, factor, tile, keys.n, h, to);
    });
    then(h);
  }
}

/// out [Rows, padded], kLanes · Vecs channels from d on, += weights [Rows, 64] · the n values of the h-th head.
template <class O, int Rows, int Vecs, class T>
inline void add_head(const typename O::Number* weights, const float* last_weights, const TileAndNext<T>& values, int n,
                     int h, int d, float* out, int padded) {
  constexpr int kNumbers = Step<typename O::Number>::kNumbers;  // keys whose values meet weights in one product
  Vec sum[Rows][Vecs];
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) sum[i][v] = 0.0f;
  constexpr bool kOwnOrder = O::kOrdersColumns && Vecs % 2 == 0;
  int j = 0;
  std::ptrdiff_t ahead = values.ahead(h, d);
  const auto meet = [&]() __attribute__((always_inline)) {
    meet_values<O, Rows, Vecs, kOwnOrder>(weights + j, RowsAndDue<O, Rows, T, kNumbers>(values, h, j, ahead), d, sum);
  };
#pragma GCC unroll 1
  for (; j + kNumbers <= n; j += kNumbers) {
    if (Vecs > 1 && Rows == 4 && sizeof(T) == sizeof(typename O::Number) && values.in_pages &&
        takes_other(j / kNumbers)) {
      asm volatile("# the other copy" ::: "memory");  // or compilers would make them one
      meet();
      asm volatile("# the other copy" ::: "memory");
    } else {
      meet();
    }
  }
  if constexpr (kOwnOrder)
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
      for (int v = 0; v < Vecs; v += 2) O::order(sum[i] + v);
  for (; j < n; ++j)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) {
      const Vec x = load(values.row[j] + h * values.head + d + v * kLanes);
#pragma GCC unroll 4
      for (int i = 0; i < Rows; ++i) sum[i][v] = fma(last_weights[i * kTileKeys + j], x, sum[i][v]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < Vecs; ++v) {
      float* to = out + i * padded + d + v * kLanes;
      store(to, load(to) + sum[i][v]);
    }
}

/// out [heads, each, padded] += weights [heads, each, 64] · values of a tile: the bits of add_tile().
template <class O, class T>
inline void add_heads(const typename O::Number* weights, const float* last_weights, const TileRows<T>& values, int each,
                      float* out, int padded) {
  const TileAndNext<T> tile(values, padded < kTileVecs * kLanes ? kLanes : kTileVecs * kLanes, false);
  for (int h = 0; h < values.heads; ++h)
    for (int d = 0; d < padded;) {
      const bool wide = d + kTileVecs * kLanes <= padded;
      by_fours(each, [&]<int Rows>(int i) {
        const int row = h * each + i, at = row * kTileKeys;
        const auto add = wide ? add_head<O, Rows, kTileVecs, T> : add_head<O, Rows, 1, T>;
        add(weights + at, last_weights + at, tile, values.n, h, d, out + row * padded, padded);
      });
      d += wide ? kTileVecs * kLanes : kLanes;
    }
}

}  // namespace fovea::FOVEA_ISA
