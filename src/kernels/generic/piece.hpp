// A piece of attention: the rows that one thread works on, and its scratch memory.
#pragma once
#include "kernels/generic/pack.hpp"
#include "kernels/table.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kStrip = 48;        // rows of S at a time: 8 register tiles; S and a tile of K or V within L1
inline constexpr int kMostKeyTiles = 8;  // of a block of packed keys, in every pass
inline constexpr double kLog2E = 1.44269504088896341, kLn2 = 0.693147180559945309;
inline constexpr std::uint64_t kAllBits = ~std::uint64_t{0};

constexpr int at_most(int a, int b) { return a < b ? a : b; }
constexpr int at_least(int a, int b) { return a < b ? b : a; }
constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }
/// A bit for each of the first n.
constexpr std::uint64_t bits_below(int n) { return n == 64 ? kAllBits : (std::uint64_t{1} << n) - 1; }
constexpr float minus_infinity() { return -__builtin_inff(); }

/// Tiles of a row's scores that were put by while a strip met a block of keys, for some may be among the row's
/// greatest: in the order in which they came, see probes.hpp.
struct Shelf {
  static constexpr int kMost = kStrip * kMostKeyTiles;  // and one more, which is written before it is known to count

  bool* hits;                 // [kStrip] whether rows have such scores in the tile at hand
  int* count;                 // [1] of tiles
  int *rows, *first_keys;     // [kMost + 1] of the piece
  float* scores;              // [kMost + 1, 64]
  std::uint64_t* candidates;  // [kMost + 1] bits of keys whose scores reach the bar
};

/// Scratch of one piece, carved from one allocation. Every array starts on a 64-byte line.
struct Scratch {
  float* queries;  // [rows, padded head_dim], scaled
  float* out;      // [rows, padded]
  float* base;     // [rows] what is subtracted from scores, in octaves as they; −∞ before the first visible key
  float* shift;    // [rows] the base, or 0 while that is −∞: −∞ must never meet −∞
  float* bound;    // [rows] the base moves when a score exceeds this
  float* sum;      // [rows, kLanes] running denominator, its lanes not yet added up
  float* rows;     // [kLanes, the longer padded dim] keys and values before they are turned and paired
  float* keys;     // [key_tiles, padded head_dim, 64]
  float* values;   // [key_tiles, 64, padded]
  float* sums;     // [kStrip, padded] of few rows: what a tile adds to out
  float* scores;   // [kStrip, 64]
  bf16* rounded;   // [kStrip, 64] weights, where they meet values as bf16
  float* most;     // [rows, kLanes] greatest scores
  float* probes;   // [rows, probe_floats(p)] where they are asked for, see probes.hpp
  float* bar;      // [rows] where the greatest are: the least score that is kept
  Shelf shelf;     // likewise: what was put by
};
inline int probe_floats(const Problem& p) {
  return p.probes ? round_up((3 + p.probes->segments) * kLanes + 2 * RowProbes::kMostTop, 16) : 0;
}
/// Few rows: what a run of keys leaves of a row is base, l, the greatest score, what the probes hold, and O.
inline int split_probe_floats(const Problem& p) {
  return p.probes ? 3 + 2 * RowProbes::kMostTop + p.probes->segments : 0;
}
inline int split_floats(const Problem& p, int padded) { return 3 + split_probe_floats(p) + padded; }
/// Carves arrays out of one block of scratch, each from a line of its own on. Without a block it counts alone.
class Carver {
 public:
  explicit Carver(std::byte* block) : block_(block) {}
  template <class T>
  void operator()(T*& array, std::int64_t n) {
    array = block_ ? reinterpret_cast<T*>(block_ + used_) : nullptr;
    used_ += static_cast<std::size_t>((n * std::int64_t{sizeof(T)} + 63) / 64 * 64);
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* block_;
  std::size_t used_ = 0;
};

inline std::size_t lay_out(const Problem& p, const Plan& plan, int rows, std::byte* base, Scratch* s) {
  Carver carve(base);
  const std::int64_t r = rows, kept_of = p.probes && p.probes->top > 0 ? r : 0;
  const std::int64_t d = round_up(p.head_dim, kLanes), v = plan.padded_value_dim;
  carve(s->queries, r * d), carve(s->out, r * v);
  carve(s->base, r), carve(s->shift, r), carve(s->bound, r), carve(s->sum, r * kLanes);
  carve(s->rows, kLanes * (d > v ? d : v));
  carve(s->keys, plan.key_tiles * kTileKeys * d), carve(s->values, plan.key_tiles * kTileKeys * v);
  carve(s->sums, kStrip * v), carve(s->scores, kStrip * kTileKeys), carve(s->rounded, kStrip * kTileKeys);
  carve(s->most, r * kLanes), carve(s->probes, r * probe_floats(p));
  carve(s->bar, kept_of);
  const int shelved = kept_of ? Shelf::kMost + 1 : 0;
  carve(s->shelf.hits, shelved), carve(s->shelf.count, at_most(1, shelved));
  carve(s->shelf.rows, shelved), carve(s->shelf.first_keys, shelved), carve(s->shelf.scores, shelved * kTileKeys);
  carve(s->shelf.candidates, shelved);
  return carve.used();
}

inline constexpr float kSlack = 4;  // how far a base may lag behind the greatest score, in octaves
inline void set_base(const Scratch& s, int row, float base) {
  s.base[row] = base, s.bound[row] = base + kSlack;
  s.shift[row] = base == minus_infinity() ? 0.0f : base;
}
/// A row's greatest scores so far [kLanes], and those of one more tile.
inline void note_most(float* greatest, Vec most) { store(greatest, max(load(greatest), most)); }

/// Rows [first, first + rows) of the rows of a KV head's group, row = head_in_group · queries + query. Of few rows
/// those of several KV heads, from kv_head on, one after another.
struct Piece {
  int batch, kv_head, first, rows, queries, keys;
};
/// at [n]: where rows key, key + 1, … of x (k or v) start. Nothing when n ≤ 0.
inline void find_rows(const Problem& p, const Piece& w, const Operand& x, int key, int n, std::int64_t* at) {
  if (n <= 0) return;
  if (!x.table) {
    const std::int64_t first = p.row_of(x, w.batch, w.kv_head, key);
    for (int j = 0; j < n; ++j) at[j] = first + j * x.time;
    return;
  }
  const int* page = x.table + std::int64_t{w.batch} * x.blocks + key / x.page_size;
  int place = key % x.page_size;
  for (int j = 0; j < n; ++j) {
    at[j] = *page * x.batch + place * x.time + w.kv_head * x.head;
    if (++place == x.page_size) place = 0, ++page;
  }
}
/// Asks for up to kLanes rows of x (k or v) [dims] from `key` on, which are packed next. Where heads stand side by side
/// each row is a few lines in a page of its own, which no prefetcher foresees; rows one after another come unasked.
inline void ask_for_keys(const Problem& p, const Piece& w, const Operand& x, int key, int end, int dims) {
  if (x.time == dims) return;
  std::int64_t at[kLanes];
  const int n = at_most(kLanes, end - key);
  find_rows(p, w, x, key, n, at);
  for (int j = 0; j < n; ++j) prefetch_row<0>(x, at[j], dims);
}
/// Rows of one head within a strip.
struct Segment {
  int head, query, row, rows;
};

inline constexpr int kFewRows = 16;      // up to so many rows of a KV head nothing is packed: see few_rows.hpp
inline constexpr int kSplitKeys = 4096;  // a multiple of kTileKeys
inline constexpr int kManySplits = 32;   // enough for many threads

inline bool few_rows(const Problem& p, int batch) { return p.group() * p.queries_of(batch) <= kFewRows; }
/// Bytes of the keys and values of so many rows of a cache.
inline std::int64_t key_value_bytes(const Problem& p, int keys) {
  return std::int64_t{keys} * p.kv_heads * (p.head_dim + p.value_dim) * size_of(p.k.dtype);
}
/// Few rows: so many KV heads are one piece, as many as have their rows in a strip.
inline int heads_together(const Problem& p, int batch) {
  const int rows = at_least(1, p.group() * p.queries_of(batch)), most = kStrip / rows;
  const int pieces = (p.kv_heads + most - 1) / most;
  return (p.kv_heads + pieces - 1) / pieces;
}
/// Few rows: keys of one run. The fewer, the more heads share it; up to four times as many where there are runs enough,
/// for each costs 5% of 512 keys from memory (Zen 4, 32 / 8 heads of bf16).
inline int split_keys(const Problem& p, int batch) {
  const int keys = at_least(4 * kTileKeys, kSplitKeys / p.kv_heads / kTileKeys * kTileKeys);
  return keys * at_least(1, at_most(4, p.keys_of(batch) / (kManySplits * keys)));
}
inline int splits_of(const Problem& p, int batch) {
  const int keys = split_keys(p, batch);
  return at_least(1, (p.keys_of(batch) + keys - 1) / keys);
}

/// How the work on a batch row is cut: `groups` of KV heads, each in `items`: blocks of rows, or for few rows runs of
/// keys, each of which leaves [rows, split_floats] of its rows to be merged when there are several.
struct BatchCut {
  int heads, groups, items, rows;  // rows: at most, of an item
  std::int64_t partial;            // floats
  std::int64_t all_items() const { return std::int64_t{groups} * items; }
};
inline BatchCut cut_of(const Problem& p, const Plan& plan, int batch) {
  const int rows = p.group() * p.queries_of(batch);
  if (rows == 0) return {1, 0, 0, 0, 0};
  if (!few_rows(p, batch)) return {1, p.kv_heads, (rows + plan.query_rows - 1) / plan.query_rows, plan.query_rows, 0};
  const int heads = heads_together(p, batch), splits = splits_of(p, batch);
  return {heads, (p.kv_heads + heads - 1) / heads, splits, heads * rows,
          splits < 2 ? 0 : std::int64_t{heads} * rows * split_floats(p, plan.padded_value_dim)};
}

/// An item of work: a piece and, for few rows, which run of its keys; `partials` those of the piece's runs, or null.
struct Item {
  Piece piece;
  int split;
  float* partials;
};
inline Item item_of(const Problem& p, const Plan& plan, std::int64_t item) {
  int mark = 0;
  for (int step = Plan::kMarks / 2; step > 0; step /= 2)  // the last that is not behind the item
    if (mark + step < plan.marked && plan.marks[mark + step].item <= item) mark += step;
  std::int64_t at = plan.marks[mark].partial;  // in plan.partials
  item -= plan.marks[mark].item;
  for (int b = mark * plan.stride;; ++b) {
    const BatchCut cut = cut_of(p, plan, b);
    if (item < cut.all_items()) {
      const int group = static_cast<int>(item / cut.items), index = static_cast<int>(item % cut.items);
      const int head = group * cut.heads, heads = at_most(cut.heads, p.kv_heads - head);
      const int first = few_rows(p, b) ? 0 : index * plan.query_rows, rows = heads * p.group() * p.queries_of(b);
      const Piece w{b, head, first, at_most(cut.rows, rows - first), p.queries_of(b), p.keys_of(b)};
      return {w, index, cut.partial ? plan.partials + at + group * cut.items * cut.partial : nullptr};
    }
    item -= cut.all_items();
    at += cut.partial * cut.all_items();
  }
}

/// Calls f(Segment) for the runs of one head within rows [row, row + rows) of the piece.
template <class F>
inline void for_segments(const Problem& p, const Piece& w, int row, int rows, F f) {
  while (rows > 0) {
    const int at = w.first + row, query = at % w.queries;
    const int n = at_most(rows, w.queries - query);
    f(Segment{w.kv_head * p.group() + at / w.queries, query, row, n});
    row += n, rows -= n;
  }
}

inline int head_of(const Problem& p, const Piece& w, int row) {
  return w.kv_head * p.group() + (w.first + row) / w.queries;
}
inline Tile tile_of(const Piece& w, const Segment& s, Range keys) {
  return {w.batch, s.head, {s.query, s.query + s.rows}, keys, w.queries, w.keys};
}

/// Visibility of a strip: bits [kStrip]. Empty when nothing of it is visible, Full when all of a whole tile is.
inline Cover look_up_mask(const Problem& p, const Piece& w, int row, int rows, Range keys, std::uint64_t* bits) {
  const int n = keys.end - keys.begin;
  const std::uint64_t full = bits_below(n);
  const auto fill = [&](std::uint64_t* own, int count, std::uint64_t value) {
    for (int i = 0; i < count; ++i) own[i] = value;
  };
  Cover all = n == kTileKeys ? Cover::Full : Cover::Partial;
  if (!p.mask.self) return fill(bits, rows, full), all;
  bool any = false;
  for_segments(p, w, row, rows, [&](const Segment& s) {
    std::uint64_t* own = bits + (s.row - row);
    const Cover cover = p.mask.bits(p.mask.self, tile_of(w, s, keys), own);
    any = any || cover != Cover::Empty;
    if (cover != Cover::Partial) fill(own, s.rows, cover == Cover::Full ? full : 0);
    if (cover != Cover::Full) all = Cover::Partial;
  });
  return any ? all : Cover::Empty;
}

/// The run of keys outside which no row of the piece sees anything, from the start of a tile.
inline Range visible_span(const Problem& p, const Piece& w) {
  if (!p.mask.self) return {0, w.keys};
  Range all{w.keys, 0};
  for_segments(p, w, 0, w.rows, [&](const Segment& g) {
    const Range r = p.mask.span(p.mask.self, tile_of(w, g, {0, 0}));
    if (r.begin >= r.end) return;
    all.begin = at_most(all.begin, r.begin);
    all.end = at_least(all.end, r.end);
  });
  return {all.begin / kTileKeys * kTileKeys, all.end};
}

/// What scaled q·k is multiplied with. Scores are kept in octaves, score · log2 e, so that weights are powers of two as
/// they stand. Only a functor takes them as the caller knows them: finish_scores() brings them into octaves behind it.
/// (Queries times log2 e would be rounded by it, and equal scores come out unequal.)
inline double score_unit(const Problem& p) { return p.score.self ? 1 : kLog2E; }
/// … and what q·k is that holds no scale yet.
inline float product_unit(const Problem& p) { return static_cast<float>(p.scale * score_unit(p)); }
inline float in_octaves(float score) { return static_cast<float>(score * kLog2E); }
inline float from_octaves(float score) { return static_cast<float>(score * kLn2); }
/// LSE = ln (2^base · l) of weights that add up to l; −∞ when nothing was visible.
inline float lse_of(float base, float l) {
  return l == 0 ? minus_infinity() : static_cast<float>(base * kLn2 + __builtin_log(l));
}

/// Rows [row, row + rows): their scaled queries as f32; zeros in the rest of the last register tile.
inline void widen_queries(const Problem& p, const Piece& w, const Scratch& s, int row, int rows) {
  const Vec scale = static_cast<float>(p.scale);
  const int dims = round_up(p.head_dim, kLanes), whole = round_up(rows, kTileRows);
  for (int i = (row + rows) * dims; i < (row + whole) * dims; ++i) s.queries[i] = 0;
  for_segments(p, w, row, rows, [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      float* q = s.queries + (g.row + i) * dims;
      widen_row(p.q, p.q_offset(w.batch, g.head, g.query + i), p.head_dim, q);
      for (int d = p.head_dim; d < dims; ++d) q[d] = 0;
      for (int d = 0; d < dims; d += kLanes) store(q + d, load(q + d) * scale);
    }
  });
}

/// Rows [row, row + rows), and the rest of the last register tile: the state of having seen nothing but the sink.
inline void begin_state(const Problem& p, const Piece& w, const Scratch& s, int padded, int row, int rows) {
  const int whole = round_up(rows, kTileRows);
  for (int r = row; r < row + whole; ++r) {
    const float sink = p.sinks && r < row + rows ? in_octaves(p.sinks[head_of(p, w, r)]) : minus_infinity();
    set_base(s, r, sink);
    store(s.sum + r * kLanes, 0.0f);
    s.sum[r * kLanes] = sink == minus_infinity() ? 0.0f : 1.0f;
    store(s.most + r * kLanes, minus_infinity());
  }
  for (int i = row * padded; i < (row + whole) * padded; i += kLanes) store(s.out + i, 0.0f);
}

/// Rows [row, row + rows) of the results: O/l, rounded once to the output's dtype, and LSE.
inline void finish_rows(const Problem& p, const Piece& w, const Scratch& s, int padded, int row, int rows) {
  for_segments(p, w, row, rows, [&](const Segment& g) {
    for (int i = 0; i < g.rows; ++i) {
      const int r = g.row + i;
      const float l = reduce_add(load(s.sum + r * kLanes));
      // l is 0 exactly when nothing was visible (then the row is zeros); a NaN stays a NaN.
      narrow_row(s.out + r * padded, l == 0 ? 0.0f : 1 / l, p.value_dim, p.out,
                 p.out_offset(w.batch, g.head, g.query + i));
      const std::int64_t at = p.lse_offset(w.batch, g.head, g.query + i);
      if (p.most) p.most[at] = l != l ? l : from_octaves(reduce_max(load(s.most + r * kLanes)));
      if (p.lse) p.lse[at] = lse_of(s.base[r], l);
    }
  });
}

}  // namespace fovea::FOVEA_ISA
