// The contract between what attention means (masks, scores) and what computes it (kernels).
//
// Meaning is erased at the tile, never at the element: a kernel asks a mask for the bits of a whole tile, and hands a
// score functor a whole tile of logits. One indirect call serves some thousands of elements, so there is one kernel per
// instruction set and element type, whatever was composed. Freestanding: kernels are built per instruction set and
// include only this.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fovea {

inline constexpr int kTileKeys = 64;     // most keys of a tile: one machine word of visibility bits per query
inline constexpr int kTileQueries = 64;  // most queries of a tile

struct Range {
  int begin = 0, end = 0;
};  // half-open

/// One element of the score matrix. `queries` and `keys` are the lengths of its batch row: masks that align the last
/// query with the last key need them.
struct Site {
  int batch, head, query, key, queries, keys;
};

/// One row of the score matrix.
struct Row {
  int batch, head, query, queries, keys;
};

/// A rectangle of the score matrix of one head.
struct Tile {
  int batch, head;
  Range query, key;
  int queries, keys;
};

/// Kleene's three truth values: what a whole tile knows about its elements.
enum class Cover : std::uint8_t { Empty, Partial, Full };
constexpr Cover operator&(Cover a, Cover b) { return a < b ? a : b; }
constexpr Cover operator|(Cover a, Cover b) { return a < b ? b : a; }
constexpr Cover operator!(Cover a) { return static_cast<Cover>(2 - static_cast<int>(a)); }

/// A mask as kernels see it. `self` null: every key is visible.
struct MaskView {
  const void* self = nullptr;
  bool (*sees)(const void* self, const Site&) = nullptr;
  /// A run of keys outside which the tile's queries see nothing; clipped to [0, keys). The tile's own `key` is ignored.
  Range (*span)(const void* self, const Tile&) = nullptr;
  /// At most kTileQueries × kTileKeys. When Partial, bits[i] bit j says whether query i of the tile sees key j of it.
  Cover (*bits)(const void* self, const Tile&, std::uint64_t* bits) = nullptr;
};

/// A tile of logits, f32, in place. One of the strides is 1.
struct ScoreTile {
  float* data;
  std::ptrdiff_t query_stride, key_stride;
  Tile at;
};

/// A value with its derivative by the logit.
template <class V>
struct Dual {
  V value, slope;
};

/// Widths of machine that a composed functor is built for.
enum ApplyTier { kApplyScalar, kApplyAvx2, kApplyAvx512 };

/// A score functor as kernels see it. `self` null: the logit as it is.
struct ScoreView {
  const void* self = nullptr;
  double (*value)(const void* self, double logit, const Site&) = nullptr;        // the reference
  Dual<double> (*slope)(const void* self, double logit, const Site&) = nullptr;  // the reference's backward
  /// The kernels, in place. The same loop built for each width of machine; a kernel takes the one of its own tier.
  void (*apply[3])(const void* self, const ScoreTile&) = {};
  /// The kernels' backward: as apply, and slope (laid out as the tile's data) is multiplied by the derivative.
  void (*differentiate)(const void* self, const ScoreTile&, float* slope) = nullptr;
  /// What the numbers inside the score receive (score_parameter.hpp). g, laid out as the tile of logits, is ∂ by the
  /// score and becomes ∂ by the logit; sums: one array for each parameter.
  void (*collect)(const void* self, const ScoreTile& logits, float* g, float* const* sums) = nullptr;
  /// The same for one site, in double; returns ∂ by the logit.
  double (*collect_site)(const void* self, double logit, double g, const Site&, int first, void* to,
                         void (*take)(void* to, int which, std::ptrdiff_t at, double share)) = nullptr;
};

}  // namespace fovea
