// Fused attention in O(n) memory: a fold of the softmax monoid (base, l, O) over tiles of keys.
//
// One piece of work owns up to Plan::query_rows rows: queries of one batch row and one KV head, over all query heads
// that share it, so each key and value is read and packed once for all of them. For every block of Plan::key_tiles
// tiles of 64 keys, packed into L2, and every strip of 48 rows:
//
//   product  S = Q·Kᵀ             [48, 64]
//   softmax  P = 2^(S − base), l += ΣP, S in octaves; with AVX-512 six rows at a time, beside the products of the next
//            six, the last six beside the first of P·V
//   product  O += P·V             [48, value_dim]
//
// With a functor S goes through memory as a whole (12 KB, in L1): the functor in place, −∞ where the mask hides, then
// the softmax. Written once on operands (operands.hpp): f32, or pairs of bf16, whose products take half the slots.
// The sink is the seed (base = sink, l = 1, O = 0).
//
// Slots of the FMA ports for 16 scores: 2·head_dim for the products (half of that on pairs), 3 to 12 for the softmax
// (softmax.hpp), so of f32 at most 91 to 97% of the ceiling at head_dim 64; the ends of register tiles take 2 to 4%.
// Packing waits for memory where rows lie apart: they are asked for while the 16 before them are packed. (Two blocks in
// turn, the next packed a few keys after each strip and asked for beside folds: folds lost what packing gained.)
#pragma once
#include "kernels/generic/few_rows.hpp"

namespace fovea::FOVEA_ISA {

enum class Wanted { Keys, KeysAndValues };

/// Up to key_tiles tiles of keys and values as operands.
template <class O>
class KeyBlock {
 public:
  using Number = typename O::Number;

  KeyBlock(const Problem& p, const Piece& w, const Scratch& s, const Plan& plan, Wanted wanted)
      : p_(p),
        w_(w),
        s_(s),
        with_values_(wanted == Wanted::KeysAndValues),
        key_numbers_(std::ptrdiff_t{kTileKeys} * round_up(p.head_dim, O::kDims)),
        value_numbers_(std::ptrdiff_t{kTileKeys} * plan.padded_value_dim),
        keys_(O::keys(s)),
        values_(O::values(s)) {}
  /// Holds keys [range.begin, range.end) from now on.
  void pack(Range range) {
    range_ = range;
    for (int t = 0; t < tiles(); ++t)
      if ((wanted_[t] = seen(keys_of(t)))) pack_tile(t);
  }
  int tiles() const { return (range_.end - range_.begin + kTileKeys - 1) / kTileKeys; }
  bool wanted(int tile) const { return wanted_[tile]; }
  bool finite(int tile) const { return finite_[tile]; }
  Range keys_of(int tile) const {
    const int key = range_.begin + tile * kTileKeys;
    return {key, at_most(key + kTileKeys, w_.keys)};
  }
  const Number* keys(int tile) const { return keys_ + tile * key_numbers_; }
  const Number* values(int tile) const { return values_ + tile * value_numbers_; }

 private:
  bool seen(Range keys) const {
    if (!p_.mask.self) return true;
    std::uint64_t bits[kStrip];
    for (int row = 0; row < w_.rows; row += kStrip)
      if (look_up_mask(p_, w_, row, at_most(kStrip, w_.rows - row), keys, bits) != Cover::Empty) return true;
    return false;
  }
  void pack_tile(int tile) {
    const int key = keys_of(tile).begin;
    finite_[tile] = true;
    for (int first = 0; first < kTileKeys; first += kLanes) {
      const int n = at_most(kLanes, w_.keys - key - first);
      std::int64_t at[kLanes];
      ask_for_keys(p_, w_, p_.k, key + first + kLanes, range_.end, p_.head_dim);
      if (with_values_) ask_for_keys(p_, w_, p_.v, key + first + kLanes, range_.end, p_.value_dim);
      find_rows(p_, w_, p_.k, key + first, n, at);
      O::pack_keys(p_, at, n, s_, keys_ + tile * key_numbers_, first);
      if (!with_values_) continue;
      find_rows(p_, w_, p_.v, key + first, n, at);
      const bool finite = O::pack_values(p_, at, n, s_, values_ + tile * value_numbers_, first);
      finite_[tile] = finite_[tile] && finite;
    }
  }

  const Problem& p_;
  const Piece& w_;
  const Scratch& s_;
  bool with_values_;
  std::ptrdiff_t key_numbers_, value_numbers_;  // of a tile
  Number* keys_;                                // [key_tiles, a tile as O::pack_keys leaves it]
  Number* values_;                              // [key_tiles, as O::pack_values]
  Range range_;
  bool wanted_[kMostKeyTiles], finite_[kMostKeyTiles];
};

/// O += P·V of a strip and a packed tile.
template <class O>
inline void add_values(const Problem& p, const Piece& w, const Scratch& s, const KeyBlock<O>& block, int tile, int row,
                       int rows, int padded, const std::uint64_t* bits) {
  if (block.finite(tile))
    product<true>(rows, padded, kTileKeys, O::weights(s), kTileKeys, block.values(tile), padded, s.out + row * padded,
                  padded);
  else
    O::add_values_around_mask(p, w, s, block.keys_of(tile), block.values(tile), row, rows, padded, bits);
}

/// O += P·V of a strip whose last register tile holds scores still: they become weights beside the first tile's
/// products.
template <class O, class Probes>
inline void add_values_beside(const Problem& p, const Scratch& s, const typename O::Number* values, int row, int rows,
                              int padded, const Probes& probes) {
  auto last = last_weights<O>(p, s, row, rows, probes);
  constexpr int kMostTileRows = kTileRows * kTileVecs;  // of a tile of one vector
  const auto add = [&](const auto& beside) {
    product<true>(round_up(rows, kTileRows), padded, kTileKeys, O::weights(s), kTileKeys, values, padded,
                  s.out + row * padded, padded, beside);
  };
  if (last.at >= kMostTileRows) return add(last);
  last.whole();
  add(Alone());
}

/// Of rows [0, n) of a strip those that see something of a tile, from the first to the last, from the start of a
/// register tile on: along a diagonal half of the rows of a tile see nothing.
inline Range seeing_rows(const std::uint64_t* bits, int n) {
  Range rows{0, n};
  while (rows.begin < n && bits[rows.begin] == 0) ++rows.begin;
  while (rows.end > rows.begin && bits[rows.end - 1] == 0) --rows.end;
  if (rows.begin < rows.end) rows.begin = rows.begin / kTileRows * kTileRows;
  return rows;
}

/// O += P·V of rows of which some are hidden from some: each register tile meets the keys that its rows see.
template <class O>
inline void add_seen_values(const Scratch& s, const typename O::Number* values, int row, int rows, int padded,
                            const std::uint64_t* bits) {
  constexpr int kNumbers = Step<typename O::Number>::kNumbers;
  for (int i = 0; i < rows; i += kTileRows) {
    std::uint64_t any = 0;
    for (int r = i; r < i + kTileRows; ++r) any |= bits[r];
    if (any == 0) continue;
    const int first = __builtin_ctzll(any) / kNumbers * kNumbers, end = round_up(64 - __builtin_clzll(any), kNumbers);
    product<true>(kTileRows, padded, end - first, O::weights(s) + i * kTileKeys + first, kTileKeys,
                  values + first * padded, padded, s.out + (row + i) * padded, padded);
  }
}

/// Folds one tile of keys into the rows of a strip.
template <class O>
inline void fold(const Problem& p, const Piece& w, const Scratch& s, const KeyBlock<O>& block, int tile, int row,
                 int rows, int padded) {
  std::uint64_t all_bits[kStrip], *bits = all_bits;
  const Cover cover = look_up_mask(p, w, row, rows, block.keys_of(tile), bits);
  if (cover == Cover::Empty) return;  // never computed, nor read
  if (cover == Cover::Partial) {
    const Range seeing = seeing_rows(bits, rows);
    if (seeing.begin == seeing.end) return;
    row += seeing.begin, rows = seeing.end - seeing.begin, bits += seeing.begin;
  }
  if (weighs_beside(p) && block.finite(tile)) {
    if constexpr (kTileSpansKeys) {
      const auto fold_on = [&](const auto& probes) {
        weigh_beside<O>(p, s, block.keys(tile), row, rows, cover, bits, padded, probes);
        if (cover == Cover::Full) return add_values_beside<O>(p, s, block.values(tile), row, rows, padded, probes);
        last_weights<O>(p, s, row, rows, probes).whole();
        add_seen_values<O>(s, block.values(tile), row, rows, padded, bits);
      };
      return p.probes ? fold_on(TileProbes{p, w, s, row, rows, block.keys_of(tile).begin}) : fold_on(NoProbes());
    }
  }
  score_strip<O>(p, w, s, block.keys(tile), row, rows, block.keys_of(tile), bits);
  if (!block.finite(tile)) hide_minus_infinity(s.scores, rows, bits);
  if (p.probes)
    softmax_strip_probed(p, s, s.scores, row, rows, padded, block.keys_of(tile));
  else
    softmax_strip(s, s.scores, row, rows, padded);
  O::finish_weights(s, rows);
  add_values(p, w, s, block, tile, row, rows, padded, bits);
}

inline Plan plan(const Problem& p) noexcept {
  Plan plan;
  plan.padded_value_dim = round_up(p.value_dim, kLanes);
  const int row_bytes = 4 * (p.head_dim + plan.padded_value_dim);
  // A block of K and V takes a fifth of a 1 MB L2; the state of a piece streams past it once a block.
  plan.key_tiles = at_least(1, at_most(kMostKeyTiles, (192 << 10) / (kTileKeys * row_bytes)));
  int longest = 0;
  std::int64_t all = 0;
  for (int b = 0; b < p.batches; ++b) {
    const int rows = p.group() * p.queries_of(b);
    longest = at_least(longest, rows);
    all += std::int64_t{rows} * p.kv_heads;
  }
  // Long pieces pack less, but there should be some dozen, so that threads share them evenly.
  const int most = at_least(kStrip, at_most(2112, (9 << 18) / row_bytes) / kStrip * kStrip);
  const int fair = all / 16 < most ? round_up(static_cast<int>(all / 16), kStrip) : most;
  const int rows = at_most(most, at_least(at_most(384, most), fair));
  const int blocks = at_least(1, (longest + rows - 1) / rows);
  plan.query_rows = at_least(kStrip, round_up((longest + blocks - 1) / blocks, kStrip));
  plan.stride = at_least(1, (p.batches + Plan::kMarks - 1) / Plan::kMarks);
  for (int b = 0; b < p.batches; ++b) {
    if (b % plan.stride == 0) plan.marks[plan.marked++] = {plan.items, plan.partial_floats};
    const BatchCut cut = cut_of(p, plan, b);
    plan.items += cut.all_items();
    plan.partial_floats += cut.partial * cut.all_items();
    if (cut.items > 0 && few_rows(p, b)) plan.few_bytes += key_value_bytes(p, p.keys_of(b));
  }
  Scratch unused;
  plan.scratch_bytes = lay_out(p, plan, plan.query_rows, nullptr, &unused);
  return plan;
}

/// Asks for queries of a strip that is to begin, or for the lines that results will be written to.
template <bool Results>
inline void ask_for_rows(const Problem& p, const Piece& w, int row, int rows) {
  for_segments(p, w, row, rows, [&](const Segment& g) {
    for (int t = g.query; t < g.query + g.rows; ++t)
      if constexpr (Results)
        prefetch_row<1>(p.out, p.out_offset(w.batch, g.head, t), p.value_dim);
      else
        prefetch_row<0>(p.q, p.q_offset(w.batch, g.head, t), p.head_dim);
  });
}

/// A piece of more than a few rows.
template <class O>
inline void forward_piece(const Problem& p, const Plan& plan, const Piece& w, const Scratch& s) {
  const int padded = plan.padded_value_dim, block_keys = plan.key_tiles * kTileKeys;
  const Range span = visible_span(p, w);
  KeyBlock<O> block(p, w, s, plan, Wanted::KeysAndValues);
  int key = span.begin;
  do {  // once even when no key is visible: rows begin and end
    block.pack({key, at_least(key, at_most(key + block_keys, span.end))});
    const bool first = key == span.begin, last = key + block_keys >= span.end;
    const int tiles = block.tiles(), asked = (kStrip + tiles - 1) / at_least(1, tiles);  // asked: rows beside each fold
    for (int row = 0; row < w.rows; row += kStrip) {
      const int rows = at_most(kStrip, w.rows - row);
      if (first) begin_rows<O>(p, w, s, padded, row, rows), begin_probes(p, w, s, row, rows);
      for (int tile = 0; tile < tiles; ++tile) {
        const int at = row + tile * asked;
        if (first) ask_for_rows<false>(p, w, at + kStrip, at_most(asked, w.rows - at - kStrip));
        if (last) ask_for_rows<true>(p, w, at, at_most(asked, row + rows - at));
        if (block.wanted(tile)) fold(p, w, s, block, tile, row, rows, padded);
      }
      if (p.probes) settle(p, s);
      if (last) finish_rows(p, w, s, padded, row, rows), finish_probes(p, w, s, row, rows);
    }
    key += block_keys;
  } while (key < span.end);
}

template <class O>
inline void forward_on(const Problem& p, const Plan& plan, std::int64_t item, std::byte* memory) noexcept {
  const FlushDenormals guard;
  const auto [w, split, partials] = item_of(p, plan, item);
  Scratch s;
  lay_out(p, plan, plan.query_rows, memory, &s);
  if (few_rows(p, w.batch)) return forward_few<O>(p, plan, w, s, split, partials);
  forward_piece<O>(p, plan, w, s);
}
inline void forward(const Problem& p, const Plan& plan, std::int64_t item, std::byte* memory) noexcept {
  forward_on<F32Operands>(p, plan, item, memory);
}

/// After all items: joins what runs of keys have left.
inline void merge(const Problem& p, const Plan& plan, std::byte* memory) noexcept {
  const FlushDenormals guard;
  Scratch s;
  lay_out(p, plan, plan.query_rows, memory, &s);
  for (std::int64_t item = 0; item < plan.items;) {
    const auto [w, split, partials] = item_of(p, plan, item);
    if (partials) merge_splits(p, w, s, plan.padded_value_dim, partials);
    item += cut_of(p, plan, w.batch).items;
  }
}

}  // namespace fovea::FOVEA_ISA
