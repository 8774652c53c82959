// Operands in bf16, pairs side by side: products by dot products of pairs (pair_product.hpp), for bf16 in and out.
//
// q·k of bf16 numbers is exact but for its f32 sum; weights are rounded to bf16 before they meet values, which the
// contract's bound names, while the denominator sums them unrounded (rounded ones would leave 3e-3 in LSE). Queries and
// weights lie in rows, where a pair is what memory has side by side anyway; only keys and values are packed.
#pragma once
#include "kernels/generic/operands.hpp"
#include "kernels/generic/pair_product.hpp"

namespace fovea::FOVEA_ISA {

/// Columns [first, first + kLanes) of to [padded dims / 2, kTileKeys, 2] = the transpose of n rows of x [dims], which
/// start at the offsets `at`, zeros beyond them: a pair is moved as a float is. `rows` [kLanes, padded dims] is
/// scratch.
inline void pack_turned(const Operand& x, const std::int64_t* at, int n, int dims, float* rows, bf16* to, int first) {
  const int padded = round_up(dims, 2 * kLanes);
  bf16* own = reinterpret_cast<bf16*>(rows);
  for (int j = 0; j < kLanes; ++j) copy_row(x, j < n ? at[j] : 0, j < n ? dims : 0, own + j * padded, padded);
  turn_rows(rows, padded / 2, reinterpret_cast<float*>(to), first);
}

/// to [padded, 2] = two rows [padded], one beside the other.
inline void pair_rows(const bf16* even, const bf16* odd, int padded, bf16* to) {
  std::uint32_t* pairs = reinterpret_cast<std::uint32_t*>(to);
  for (int d = 0; d < padded; ++d)
    pairs[d] = std::uint32_t{even[d].bits} | static_cast<std::uint32_t>(odd[d].bits) << 16;
}

/// Rows [first, first + kLanes) of to [kTileKeys / 2, padded dims, 2] = n rows of x [dims], which start at the offsets
/// `at`, in pairs; zeros beyond them, and for what is not finite. True when every number is finite. `rows` [2, padded
/// dims] is scratch.
inline bool pack_pairs(const Operand& x, const std::int64_t* at, int n, int dims, float* rows, bf16* to, int first) {
  const int padded = round_up(dims, kLanes);
  bf16 *even = reinterpret_cast<bf16*>(rows), *odd = even + padded;
  unsigned all = 0x7f80u;  // exponents of all ones are what is not finite
  bool every = true;
  for (int j = 0; j < kLanes; j += 2) {
    copy_row(x, j < n ? at[j] : 0, j < n ? dims : 0, even, padded);
    copy_row(x, j + 1 < n ? at[j + 1] : 0, j + 1 < n ? dims : 0, odd, padded);
    unsigned infinite = 0;
    for (int d = 0; d < 2 * padded; ++d) infinite |= (even[d].bits & all) == all;
    for (int d = 0; infinite && d < 2 * padded; ++d)
      if (!finite(even[d])) even[d].bits = 0, every = false;
    pair_rows(even, odd, padded, to + (first + j) * padded);
  }
  return every;
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
  static Pairs first_of_two(const bf16* row) { return firsts(row); }
  static Pairs second_of_two(Pairs first, const bf16* row) { return with_seconds(first, row); }
  static Pairs two_weights(const bf16* weights) { return broadcast_pair(weights); }
  static Vec add_two(Vec sum, Pairs value, Pairs weight) { return dot(sum, value, weight); }
  static float factor(const Problem& p) { return static_cast<float>(p.scale * score_unit(p)); }

  static void pack_keys(const Problem& p, const std::int64_t* at, int n, const Scratch& s, bf16* to, int first) {
    pack_turned(p.k, at, n, p.head_dim, s.rows, to, first);
  }
  static bool pack_values(const Problem& p, const std::int64_t* at, int n, const Scratch& s, bf16* to, int first) {
    return pack_pairs(p.v, at, n, p.value_dim, s.rows, to, first);
  }

  [[gnu::always_inline]] static void put_weight(bf16* to, Vec weight) { store_rounded(to, weight); }
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
