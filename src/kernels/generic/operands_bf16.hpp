// Operands in bf16, pairs side by side: products by dot products of pairs (pair_product.hpp), for bf16 in and out.
//
// q·k of bf16 numbers is exact but for its f32 sum; weights are rounded to bf16 before they meet values, which the
// contract's bound names, while the denominator sums them unrounded (rounded ones would leave 3e-3 in LSE). Queries and
// weights lie in rows, where a pair is what memory has side by side anyway; only keys and values are packed.
#pragma once
#include "kernels/generic/operands.hpp"
#include "kernels/generic/pair_product.hpp"

namespace fovea::FOVEA_ISA {

/// row [kLanes]: n rows of x [dims], which start at the offsets `at`, as they lie where that is `padded` numbers each,
/// else copied [kLanes, padded] with zeros behind; zeros from row n on.
inline void find_rows_or_copy(const Operand& x, const std::int64_t* at, int n, int dims, int padded, bf16* copies,
                              const bf16* (&row)[kLanes]) {
  const bool as_they_lie = lies_as<bf16>(x, dims, padded);
  for (int j = 0; j < kLanes; ++j) {
    row[j] = copies + j * padded;
    if (as_they_lie && j < n)
      row[j] = static_cast<const bf16*>(x.data) + at[j];
    else
      copy_row(x, j < n ? at[j] : 0, j < n ? dims : 0, copies + j * padded, padded);
  }
}

/// Columns [first, first + kLanes) of to [padded dims / 2, kTileKeys, 2] = the transpose of n rows of x [dims], which
/// start at the offsets `at`, zeros beyond them: a pair is moved as a float is. `rows` [kLanes, padded dims] is
/// scratch.
inline void pack_turned(const Operand& x, const std::int64_t* at, int n, int dims, float* rows, bf16* to, int first) {
  const int padded = round_up(dims, 2 * kLanes);
  const bf16* row[kLanes];
  find_rows_or_copy(x, at, n, dims, padded, reinterpret_cast<bf16*>(rows), row);
  turn_rows(row, padded / 2, reinterpret_cast<float*>(to), first);
}

/// to [padded, 2] = two rows [padded], one beside the other.
inline void pair_rows(const bf16* even, const bf16* odd, int padded, bf16* to) {
  for (int d = 0; d < padded; d += kLanes) store(to + 2 * d, with_seconds(firsts(even + d), odd + d));
}

/// Rows [first, first + kLanes) of to [kTileKeys / 2, padded dims, 2] = n rows of x [dims], which start at the offsets
/// `at`, in pairs; zeros beyond them, and for what is not finite. True when every number is finite. `rows` [kLanes,
/// padded dims] is scratch.
inline bool pack_pairs(const Operand& x, const std::int64_t* at, int n, int dims, float* rows, bf16* to, int first) {
  const int padded = round_up(dims, kLanes);
  const bf16 zeros[2] = {};
  const Pairs none = broadcast_pair(zeros);
  const bf16* row[kLanes];
  find_rows_or_copy(x, at, n, dims, padded, reinterpret_cast<bf16*>(rows), row);
  bf16* own = to + first * padded;
  Vec poison = 0.0f;  // x·0 is NaN for what isn't finite
  for (int j = 0; j < kLanes; j += 2) {
    bf16* pairs = own + j * padded;
    pair_rows(row[j], row[j + 1], padded, pairs);
    for (int d = 0; d < padded; d += kLanes) poison = dot(poison, load_pairs(pairs + 2 * d), none);
  }
  if (reduce_add(poison) == 0) return true;
  for (int i = 0; i < kLanes * padded; ++i)
    if (!finite(own[i])) own[i].bits = 0;
  return false;
}

/// Queries [rows, padded head_dim] as they are; keys [padded head_dim / 2, 64, 2] and values [32, padded, 2] of a tile,
/// a zero where a value is not finite; weights [kStrip, 64]. All in half of the room that f32 would take.
struct Bf16Operands {
  using Number = bf16;
  static constexpr int kDims = 2 * kLanes;

  static bf16* queries(const Scratch& s) { return reinterpret_cast<bf16*>(s.queries); }
  static bf16* keys(const Scratch& s) { return reinterpret_cast<bf16*>(s.keys); }
  static bf16* values(const Scratch& s) { return reinterpret_cast<bf16*>(s.values); }
  static bf16* weights(const Scratch& s) { return s.rounded; }
  static constexpr bool kWeightsAreScores = false;
  static void begin_queries(const Problem& p, const Piece& w, const Scratch& s, int row, int rows) {
    const int dims = round_up(p.head_dim, kDims), whole = round_up(rows, kTileRows);
    bf16* to = queries(s);
    for_segments(p, w, row, rows, [&](const Segment& g) {
      for (int i = 0; i < g.rows; ++i)
        copy_row(p.q, p.q_offset(w.batch, g.head, g.query + i), p.head_dim, to + (g.row + i) * dims, dims);
    });
    for (int i = (row + rows) * dims; i < (row + whole) * dims; ++i) to[i].bits = 0;
  }
  static void copy_rows(const Operand& x, const std::int64_t* at, int n, int dims, bf16* to, int padded) {
    for (int j = 0; j < n; ++j) copy_row(x, at[j], dims, to + j * padded, padded);
  }
  static Pairs along(const bf16* row) { return load_pairs(row); }
  static Vec add_along(Vec sum, Pairs key, Pairs query) { return dot(sum, key, query); }
  static Pairs across(const bf16* const* row, int d) { return with_seconds(firsts(row[0] + d), row[1] + d); }
  /// 2 · kLanes channels in an order that costs less, and two vectors of their sums in memory's.
  static constexpr bool kOrdersColumns = true;
  static void across_two(const bf16* const* row, int d, Pairs* x) { pair_columns(row[0] + d, row[1] + d, x); }
  static void order(Vec* sum) { order_columns(sum); }
  static float factor(const Problem& p) { return product_unit(p); }

  static void pack_keys(const Problem& p, const std::int64_t* at, int n, const Scratch& s, bf16* to, int first) {
    pack_turned(p.k, at, n, p.head_dim, s.rows, to, first);
  }
  static bool pack_values(const Problem& p, const std::int64_t* at, int n, const Scratch& s, bf16* to, int first) {
    return pack_pairs(p.v, at, n, p.value_dim, s.rows, to, first);
  }

  [[gnu::always_inline]] static void put_weights(bf16* to, Vec first, Vec second) { store_rounded(to, first, second); }
  static void finish_weights(const Scratch& s, int rows) {
    for (int i = 0; i < rows * kTileKeys; i += kLanes) store_rounded(s.rounded + i, load(s.scores + i));
  }

  /// The numbers of V that are not finite join the rows that see them; the packed tile has zeros in their place.
  static void add_values_around_mask(const Problem& p, const Piece& w, const Scratch& s, Range keys, const bf16* values,
                                     int row, int rows, int padded, const std::uint64_t* bits) {
    product<true>(rows, padded, kTileKeys, weights(s), kTileKeys, values, padded, s.out + row * padded, padded);
    std::int64_t at[kTileKeys];
    find_rows(p, w, p.v, keys.begin, keys.end - keys.begin, at);
    for (int j = 0; j < keys.end - keys.begin; ++j) {
      const bf16* value = static_cast<const bf16*>(p.v.data) + at[j];
      for (int d = 0; d < p.value_dim; ++d) {
        if (finite(value[d * p.v.dim])) continue;
        for (int i = 0; i < rows; ++i)
          if (bits[i] >> j & 1)
            s.out[(row + i) * padded + d] += float(s.rounded[i * kTileKeys + j]) * float(value[d * p.v.dim]);
      }
    }
  }
};

}  // namespace fovea::FOVEA_ISA
