// The two products of few rows on a tile of keys or values, one head after another: where L1 is small (asking.hpp finds
// out), for what lies in L3, for many rows, and from memory for four and for numbers of 16 bits whose heads lie apart.
//
// A head's queries stay in L1, or in registers where there is room, and its sums in registers. Row by row
// (few_products.hpp) those of all heads come and go with every few keys: 32 KB at 32 rows of 128 channels, all that L1
// of Zen 4 has, so that even keys in L2 were met at 27 GB/s, by heads at 44. Each line is asked for a tile ahead, out
// of memory's order where heads stand side by side. Products from L2 are faster than memory, and lines that are asked
// for at their pace make each other wait: 17 GB/s; with a clock 24 to 27
// (asking.hpp). Nobody asks while scores become weights, so each head's do beside its own products, not all heads' at
// once, while lines that are on their way still come (4 rows of 64 scores take some 300 cycles, a line from memory
// 400). For vectors of 16 lanes, where it was measured; without them it would be 110 KB of program more.
#pragma once
#include "kernels/generic/few_products.hpp"

namespace fovea::FOVEA_ISA {

/// Where a tile's rows lie, and how far from each four of them those of the tile that is read next, in bytes.
template <class T>
struct TileAndNext {
  const T* row[kTileKeys];  // of the first head; next heads `head` numbers on
  std::ptrdiff_t head, due[kTileKeys / 4], due_head;
  bool paced;

  explicit TileAndNext(const TileRows<T>& tile) : head(tile.head), due{}, due_head(0), paced(tile.due.paced) {
    for (int j = 0; j < kTileKeys; ++j) row[j] = tile.row(j);
    const TileAt& next = tile.due.then;
    if (next.n == 0) return;  // the line at hand is asked for
    due_head = next.head_bytes() - head * std::ptrdiff_t{sizeof(T)};
    for (int j = 0; j < kTileKeys; j += 4)
      due[j / 4] =
          next.row(at_most(j, next.n - 1)) + tile.due.head * next.head_bytes() - reinterpret_cast<const char*>(row[j]);
  }
};

/// Whether `rows` rows of a head may meet numbers of `size` bytes faster than memory gives them, so that lines are
/// asked for by a clock. Numbers that are widened take longer; f32 of fewer rows from memory are left to
/// few_products.hpp.
template <class O>
constexpr bool may_outrun_memory(int rows, std::size_t size) {
  return size == sizeof(typename O::Number) && (rows == 4 || (rows < 4 && size == 2));
}

/// Together rows of a head from the j-th on, and how far from them those lie that are due; of a clock what it shows, 0.
template <class O, int Rows, class T, int Together>
struct RowsAndDue {
  static constexpr int kTogether = Together;
  const T* row[Together];
  std::ptrdiff_t due;
  bool paced;
  std::ptrdiff_t& clock;

  [[gnu::always_inline]] RowsAndDue(const TileAndNext<T>& tile, int h, int j, std::ptrdiff_t& clock)
      : due(tile.due[j / 4] + h * tile.due_head), paced(tile.paced), clock(clock) {
#pragma GCC unroll 4
    for (int k = 0; k < Together; ++k) row[k] = tile.row[j + k] + h * tile.head;
  }
  /// As HeadRows has it. Numbers that are widened wait for the line at hand: from memory f16 of heads apart 20 GB/s, by
  /// a clock or by neither 17 to 18.
  template <int kBlock>
  [[gnu::always_inline]] void ask(int k, int d, int v = 0) const {
    if (!begins_line<T, kBlock>(d, v)) return;
    const char* line = reinterpret_cast<const char*>(row[k] + d + v);
    if constexpr (sizeof(T) != sizeof(typename O::Number)) return ask_for(line + due, line, true);
    if constexpr (may_outrun_memory<O>(Rows, sizeof(T))) clock = a_line_later(clock, paced);
    __builtin_prefetch(line + due + clock, 0, 2);
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
  std::ptrdiff_t clock = 0;
  for (int j = 0; j < round_up(n, kLanes); j += 4) {
    const RowsAndDue<O, Rows, T, 4> four(keys, h, j, clock);
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
    store_fours<Rows>(scores + j, kTileKeys, sums_of(fours) * factor);
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
  const TileAndNext<T> tile(keys);
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
  std::ptrdiff_t clock = 0;
#pragma GCC unroll 1
  for (; j + kNumbers <= n; j += kNumbers)
    meet_values<O, Rows, Vecs, kOwnOrder>(weights + j, RowsAndDue<O, Rows, T, kNumbers>(values, h, j, clock), d, sum);
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
  const TileAndNext<T> tile(values);
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
