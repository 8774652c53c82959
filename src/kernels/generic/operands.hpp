// What the products of a pass are made of: here f32 numbers, in operands_bf16.hpp pairs of bf16. A pass is written
// once, on what such a struct says of how queries, keys, values and weights lie and what becomes of a product.
#pragma once
#include "kernels/generic/matmul.hpp"
#include "kernels/generic/piece.hpp"

namespace fovea::FOVEA_ISA {

/// Queries [rows, padded head_dim], scaled; keys [padded head_dim, 64] and values [64, padded] of a tile; weights
/// [kStrip, 64] lie where scores were.
struct F32Operands {
  using Number = float;
  static constexpr int kDims = kLanes;  // head_dim is filled up to a multiple of it

  static float* queries(const Scratch& s) { return s.queries; }
  static float* keys(const Scratch& s) { return s.keys; }
  static float* values(const Scratch& s) { return s.values; }
  static float* weights(const Scratch& s) { return s.scores; }
  static constexpr bool kWeightsAreScores = true;  // they lie in the same place
  static void begin_queries(const Problem& p, const Piece& w, const Scratch& s, int row, int rows) {
    widen_queries(p, w, s, row, rows);
  }
  /// to [n, padded] = n rows of x [dims], which start at the offsets `at`.
  static void copy_rows(const Operand& x, const std::int64_t* at, int n, int dims, float* to, int padded) {
    for (int j = 0; j < n; j += kLanes) pack_rows(x, at + j, n - j, dims, padded, to, j);
  }
  /// kDims numbers of a row meet as many of a query; keys where they lie may be narrower than f32.
  template <class T>
  static Vec along(const T* row) {
    return load(row);
  }
  static Vec add_along(Vec sum, Vec key, Vec query) { return fma(key, query, sum); }
  static constexpr bool kOrdersColumns = false;
  /// kLanes channels of the values of as many keys as a product takes, whose rows these are.
  template <class T>
  static Vec across(const T* const* row, int d) {
    return load(row[0] + d);
  }
  /// What a sum of products is multiplied with to be a score.
  static float factor(const Problem& p) { return static_cast<float>(score_unit(p)); }

  static void pack_keys(const Problem& p, const std::int64_t* at, int n, const Scratch& s, float* to, int first) {
    pack_turned(p.k, at, n, p.head_dim, s.rows, to, first);
  }
  /// True when every number is finite.
  static bool pack_values(const Problem& p, const std::int64_t* at, int n, const Scratch&, float* to, int first) {
    return pack_rows(p.v, at, n, p.value_dim, round_up(p.value_dim, kLanes), to, first);
  }

  /// to [2 · kLanes] = two vectors of weights.
  [[gnu::always_inline]] static void put_weights(float* to, Vec first, Vec second) {
    store(to, first), store(to + kLanes, second);
  }
  /// Scores [rows, 64] that became weights in memory become operands.
  static void finish_weights(const Scratch&, int) {}

  /// O += P·V where V holds NaN or infinity behind some row's mask: 0 · NaN must not leak, so hidden keys are stepped
  /// over. The same sums in the same order as product(): other rows keep their bits.
  static void add_values_around_mask(const Problem&, const Piece&, const Scratch& s, Range, const float* values,
                                     int row, int rows, int padded, const std::uint64_t* bits) {
    for (int i = 0; i < rows; ++i) {
      float* o = s.out + (row + i) * padded;
      for (int d = 0; d < padded; d += kLanes) {
        Vec sum = 0.0f;
        for (int j = 0; j < kTileKeys; ++j)
          if (bits[i] >> j & 1) sum = fma(s.scores[i * kTileKeys + j], load(values + j * padded + d), sum);
        store(o + d, load(o + d) + sum);
      }
    }
  }
};

/// Rows [row, row + rows): their queries, and the state of having seen nothing but the sink. The rest of the last
/// register tile are rows of zeros.
template <class O>
inline void begin_rows(const Problem& p, const Piece& w, const Scratch& s, int padded, int row, int rows) {
  O::begin_queries(p, w, s, row, rows);
  begin_state(p, w, s, padded, row, rows);
}

}  // namespace fovea::FOVEA_ISA
