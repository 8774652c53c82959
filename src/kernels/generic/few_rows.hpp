// Few queries over many keys: decoding, one token at a time. The limit is how fast memory gives up keys and values, so
// they are read once for all query heads that share them, where they lie, as they are: nothing is packed. Where heads
// stand side by side, [time, kv_heads, dim], one head's rows are pages apart: walked head by head, memory gave up a
// third of what it can. So the heads of a piece walk together, by the products of few_products.hpp, written on
// operands: f32, or pairs of bf16, or what is narrower than f32 and widened as it is read.
//
// A long cache is cut into runs of split_keys(), which threads share and merge_splits() joins by their LSE. The cut
// depends on the number of keys and heads alone, so a sequence has the same bits in any batch, on any number of
// threads.
#pragma once
#include "kernels/generic/few_heads.hpp"
#include "kernels/generic/softmax.hpp"

namespace fovea::FOVEA_ISA {

/// Whether a tile's rows of `heads` heads are fours of whole lines: of all heads behind one another, or each head's.
inline bool rows_in_line(const TileAt& tile, int heads, int dims) {
  const Operand& x = *tile.x;
  if (tile.n % 4 != 0 || dims * size_of(x.dtype) % 64 != 0) return false;
  for (int j = 0; x.table && j < tile.n; j += 4)
    if (tile.at[j + 3] - tile.at[j] != 3 * x.time) return false;  // a page ends between them
  const bool all_heads = x.time == heads * std::int64_t{dims} && x.head == dims;
  return all_heads || (x.time == dims && (heads == 1 || x.head >= tile.n * x.time));
}

/// f(first head, TileRows<T>) for a tile of x, whose rows are read as `padded` numbers: all heads at once where they
/// can be read as they lie, else one after another, copied and filled up as O has them. The same bits either way.
template <class O, class F>
inline void read_tile(const TileAt& tile, int heads, int dims, int padded, typename O::Number* copy, const Due& due,
                      F f) {
  const Operand& x = *tile.x;
  if (x.dim != 1 || dims != padded) {
    std::int64_t at[kTileKeys];
    for (int h = 0; h < heads; ++h) {
      for (int j = 0; j < tile.n; ++j) at[j] = tile.offset(j) + h * x.head;
      O::copy_rows(x, at, tile.n, dims, copy, padded);
      Due of_head = due;
      of_head.head = h;
      f(h, TileRows<typename O::Number>{copy, 0, padded, nullptr, tile.n, 1, 0, false, of_head});
    }
    return;
  }
  const bool in_line = rows_in_line(tile, heads, dims);
  const auto lie = [&]<class T>(const T* data) {
    f(0,
      TileRows<T>{data + tile.first, x.head, x.time, x.table ? tile.at : nullptr, tile.n, heads, dims, in_line, due});
  };
  if (x.dtype == DType::BF16) return lie(static_cast<const bf16*>(x.data));
  if constexpr (Step<typename O::Number>::kNumbers == 1) {
    if (x.dtype == DType::F32) lie(static_cast<const float*>(x.data));
    if (x.dtype == DType::F16) lie(static_cast<const f16*>(x.data));
  }
}

/// Whether keys and values can have stayed in L3 (three quarters of 32 MB, for others use it too). From there four rows
/// at a time come faster (Zen 5, f32 54 beside 40 GB/s, heads apart 62 beside 36; keys of bf16 47 beside 40), from
/// memory keys of bf16 one at a time, and f32 if a head has several rows (29 beside 26 GB/s), with the same bits.
inline bool fits_l3(const Problem& p, const Piece& w) { return p.batches * key_value_bytes(p, w.keys) <= 24 << 20; }

/// Whether each head's keys and values are one stream of memory, [kv_heads, time, dim]; else heads stand side by side.
inline bool heads_apart(const Problem& p) { return !p.k.table && (p.k.head > p.k.time || p.v.head > p.v.time); }

inline constexpr bool kHeadByHead = kLanes >= 16;
/// Whether a piece's products may outrun memory, where its keys and values lie. Numbers that are widened hardly do, and
/// heads apart come as fast without a clock.
template <class O>
inline bool outruns_memory(const Problem& p, const Piece& w, int each) {
  const bool widened = size_of(p.k.dtype) != sizeof(typename O::Number);
  return may_outrun_memory<O>(each, size_of(p.k.dtype)) && !fits_l3(p, w) && !(widened && heads_apart(p));
}
/// Whether a tile's heads meet their rows, `each` of them, one after another (few_heads.hpp). More than four take
/// longer than memory does; so do those of many heads, whose queries and sums would not stay in L1 (Zen 4, 32 heads of
/// 3 or 4 rows of 128 channels: f32 1.6 times as fast, f16 1.2). From memory four rows, with a clock, and of heads
/// apart all 16-bit numbers (Zen 4, heads side by side: four rows in f32 and bf16 7% faster, but three row by row 26 to
/// 28 GB/s beside 23 to 25, two 25 beside 18).
template <class O>
inline bool head_by_head(const Problem& p, const Piece& w, int each, bool into_l2) {
  constexpr int kL1 = 32 << 10;
  if (!kHeadByHead || !into_l2 || each == 1) return false;
  const bool leave_l1 = std::int64_t{w.rows} * (p.head_dim + p.value_dim) * 4 > kL1;
  return leave_l1 || each > 4 || fits_l3(p, w) || (heads_apart(p) && size_of(p.k.dtype) < 4) ||
         (each == 4 && outruns_memory<O>(p, w, each));
}
/// Whether what is asked for meanwhile has a clock.
template <class O>
inline bool by_a_clock(const Problem& p, const Piece& w, int each, bool into_l2) {
  return head_by_head<O>(p, w, each, into_l2) && outruns_memory<O>(p, w, each);
}

/// Whether beside keys that meet their rows head by head the next tile's keys are asked for, and beside values its
/// values; else keys and values in turn. Where a head's are a stream of memory; and by a clock, if half of L2 holds a
/// tile of `heads` heads and the next, keys and values (Zen 4, 32 / 8 heads of 128 channels: bf16 25 → 27 GB/s, but
/// f32, for which it does not, 26 → 25; from L3 a fifth less).
inline bool asks_in_streams(const Problem& p, int heads, bool paced) {
  constexpr int kHalfOfL2 = 512 << 10;
  const std::int64_t tile = std::int64_t{kTileKeys} * heads * (p.head_dim + p.value_dim) * size_of(p.k.dtype);
  return heads_apart(p) || (paced && 2 * tile <= kHalfOfL2);
}

/// q·k of a tile [rows, 64], `each` rows of every KV head from row `row` of the piece on: row by row.
template <class O>
inline void multiply_keys(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, int each,
                          const TileAt& tile, const Due& due) {
  const int dims = round_up(p.head_dim, O::kDims);
  const Vec factor = O::factor(p);
  const bool near = fits_l3(p, w), pairs = Step<typename O::Number>::kNumbers == 2;
  read_tile<O>(tile, rows / each, p.head_dim, dims, O::keys(s), due, [&](int head, const auto& keys) {
    by_fours(each, [&]<int Rows>(int i) {
      const bool fours = near || (Rows == 1 && (due.into_l2 || !pairs)) || (!pairs && sizeof(*keys.data) < 4);
      fours_or_fewer<Rows, 1>(fours, keys, [&]<int Together>() {
        for (int j = 0; j < keys.n; j += kLanes)
          score_keys<O, Rows, Together>(O::queries(s) + (row + head * each + i) * dims, each * dims, dims, factor, keys,
                                        j, s.scores + (head * each + i) * kTileKeys, each * kTileKeys);
      });
    });
  });
}
/// The same of all rows of the piece, head by head: then(first row) as soon as a head's are there.
template <class O, class F>
inline void multiply_keys_by_heads(const Problem& p, const Scratch& s, int heads, int each, const TileAt& tile,
                                   const Due& due, F then) {
  const int dims = round_up(p.head_dim, O::kDims);
  read_tile<O>(tile, heads, p.head_dim, dims, O::keys(s), due, [&](int head, const auto& keys) {
    if constexpr (kHeadByHead)
      score_heads<O>(O::queries(s) + head * each * dims, each, dims, O::factor(p), keys,
                     s.scores + head * each * kTileKeys, [&](int h) { then((head + h) * each); });
  });
}

/// scores [rows, 64] of a tile of n keys, for what multiply_keys() has left.
inline void score_few(const Problem& p, const Piece& w, float* scores, int row, int rows, Range range, int n,
                      std::uint64_t* bits) {
  for (int i = 0; i < rows; ++i)
    for (int j = round_up(n, kLanes); j < kTileKeys; ++j) scores[i * kTileKeys + j] = 0;
  finish_scores(p, w, scores, row, rows, range, bits);
  if (p.score.self) hide_minus_infinity(scores, rows, bits);
}
/// Those of rows of one KV head, and nothing asked for.
inline void score_few(const Problem& p, const Piece& w, const Scratch& s, int row, int rows, Range range,
                      std::uint64_t* bits) {
  const TileAt keys(p, w, p.k, range);
  multiply_keys<F32Operands>(p, w, s, row, rows, rows, keys, {keys, keys, 0});
  score_few(p, w, s.scores, row, rows, range, keys.n, bits);
}

/// O += P·V of a tile, all heads of the piece; where some row does not see every key, what is hidden is stepped over.
template <class O>
inline void add_few(const Problem& p, const Piece& w, const Scratch& s, int padded, const TileAt& tile, const Due& due,
                    const std::uint64_t* bits) {
  const int each = p.group() * w.queries;
  const std::uint64_t full = bits_below(tile.n);
  bool all = true;
  for (int i = 0; i < w.rows; ++i) all = all && (bits[i] & full) == full;
  if (all) O::finish_weights(s, w.rows);
  const bool near = fits_l3(p, w);
  read_tile<O>(tile, w.rows / each, p.value_dim, padded, O::values(s), due, [&](int head, const auto& values) {
    const int row = head * each;
    if constexpr (kHeadByHead)
      if (all && due.by_heads)
        return add_heads<O>(O::weights(s) + row * kTileKeys, s.scores + row * kTileKeys, values, each,
                            s.out + row * padded, padded);
    if (all)
      return by_fours(each, [&]<int Rows>(int i) {
        const auto add = [&]<int Together>() {
          const int first = (row + i) * kTileKeys;
          add_tile<O, Rows, Together>(O::weights(s) + first, s.scores + first, values, each, s.sums,
                                      s.out + (row + i) * padded, padded);
        };
        constexpr bool wide = sizeof(*values.data) == 4;
        if constexpr (wide && Rows > 2)  // where L2 has them, their order matters less than stores (Zen 4: 69 → 80%)
          if (due.into_l2) return add.template operator()<2>();
        fours_or_fewer<Rows, wide ? 1 : 2>(near || Rows == 1 || !wide, values, add);
      });
    for (int i = row; i < row + values.heads * each; ++i)
      for (int d = 0; d < padded; d += kLanes) {
        Vec sum = 0.0f;
        for (int j = 0; j < values.n; ++j)
          if (bits[i] >> j & 1)
            sum = fma(s.scores[i * kTileKeys + j], load(values.row(j) + (i - row) / each * values.head + d), sum);
        store(s.out + i * padded + d, load(s.out + i * padded + d) + sum);
      }
  });
}

/// How many heads of a piece, each of `each` rows, meet one tile of keys after another. Where heads stand side by side
/// all, as memory has them; apart few, for each is a stream of its own, but enough of them to share what a tile costs
/// besides its keys (Zen 5: two of 4 rows a tenth to a third faster than eight, eight of 1 row than 32; Zen 4, where
/// lines are asked for into L2: one from memory, of 1 row f32 77% of reads, eight 67, of 4 rows bf16 26 GB/s; eight of
/// 1 row from L3, bf16 46 beside 29 GB/s).
template <class O>
inline int heads_walking(const Problem& p, const Piece& w, int each, bool into_l2) {
  const int heads = w.rows / each;
  if (!heads_apart(p)) return heads;
  const bool alone = into_l2 && !fits_l3(p, w) && (each == 1 || by_a_clock<O>(p, w, each, into_l2));
  return at_most(heads, alone ? 1 : each > 1 ? 2 : 8);
}

/// How many keys ahead of their use rows of k and v are asked for: 8 KB of all heads, or 16 where four rows at a time
/// may be read, some long before others. No further than L1 holds.
inline int keys_ahead(const Problem& p, int heads) {
  const int size = static_cast<int>(size_of(p.k.dtype)), bytes = heads * at_least(p.head_dim, p.value_dim) * size;
  return at_most(kTileKeys, at_least(1, (size < 4 ? 16 << 10 : 8 << 10) / bytes));
}

/// What one run of keys knows of its rows: base, l, greatest score, O and the probes, [rows, split_floats].
inline void save_split(const Problem& p, const Scratch& s, int rows, int padded, float* partial) {
  for (int i = 0; i < rows; ++i) {
    float* to = partial + i * split_floats(p, padded);
    to[0] = s.base[i], to[1] = reduce_add(load(s.sum + i * kLanes)), to[2] = reduce_max(load(s.most + i * kLanes));
    for (int d = 0; d < padded; ++d) to[3 + d] = s.out[i * padded + d];
    if (p.probes) save_probe(p, probe_of(p, s, i), to + 3 + padded);
  }
}

/// Joins the runs of a piece: base = the greatest, l and O shrink to it. The monoid of softmax; its identity is (−∞, 0,
/// 0).
inline void merge_splits(const Problem& p, const Piece& w, const Scratch& s, int padded, const float* partials) {
  const int splits = splits_of(p, w.batch), stride = heads_together(p, w.batch) * p.group() * w.queries;
  begin_probes(p, w, s, 0, w.rows);
  for (int i = 0; i < w.rows; ++i) {
    const auto part = [&](int split) {
      return partials + (std::ptrdiff_t{split} * stride + i) * split_floats(p, padded);
    };
    float base = minus_infinity(), l = 0, most = base;
    for (int split = 0; split < splits; ++split) {
      if (!(part(split)[0] <= base)) base = part(split)[0];  // a NaN is taken, and stays
      if (most < part(split)[2]) most = part(split)[2];
    }
    float* out = s.out + i * padded;
    for (int d = 0; d < padded; ++d) out[d] = 0;
    for (int split = 0; split < splits; ++split) {
      if (part(split)[0] == minus_infinity()) continue;
      float shrink[kLanes];
      store(shrink, exp2(part(split)[0] - base));
      l += shrink[0] * part(split)[1];
      for (int d = 0; d < padded; ++d) out[d] += shrink[0] * part(split)[3 + d];
      if (p.probes) join_probe(p, probe_of(p, s, i), part(split) + 3 + padded, part(split)[1], base - part(split)[0]);
    }
    set_base(s, i, base);
    store(s.sum + i * kLanes, 0.0f);
    s.sum[i * kLanes] = l;
    store(s.most + i * kLanes, most);
  }
  finish_rows(p, w, s, padded, 0, w.rows);
  finish_probes(p, w, s, 0, w.rows);
}

/// The scratch of a piece's rows from `row` on.
template <class O>
inline Scratch rows_from(const Problem& p, Scratch s, int row, int padded) {
  const std::ptrdiff_t r = row;
  s.queries = reinterpret_cast<float*>(O::queries(s) + r * round_up(p.head_dim, O::kDims));
  s.out += r * padded, s.base += r, s.shift += r, s.bound += r, s.sum += r * kLanes, s.most += r * kLanes;
  s.probes += r * probe_floats(p);
  if (p.probes && p.probes->top > 0) s.bar += r;
  return s;
}

/// Keys that some heads of a piece walk together, a tile after another.
struct Walk {
  Piece w;
  Range keys;
  /// The tile from `begin` on; the last may reach beyond what is visible.
  Range tile(int begin) const { return {begin, at_most(begin + kTileKeys, w.keys)}; }
};

/// Folds a walk into the rows of its heads; `then` is the next, whose first tile is asked for beside this one's last.
template <class O>
inline void fold_run(const Problem& p, const Walk& walk, const Walk& then, const Scratch& s, int padded, bool into_l2) {
  const Piece& w = walk.w;
  const int each = p.group() * w.queries, rows_ahead = keys_ahead(p, w.rows / each);
  const bool by_heads = head_by_head<O>(p, w, each, into_l2), paced = by_a_clock<O>(p, w, each, into_l2);
  const bool streams = by_heads && asks_in_streams(p, w.rows / each, paced);
  for (int key = walk.keys.begin; key < walk.keys.end; key += kTileKeys) {
    const Range range = walk.tile(key);
    std::uint64_t bits[kStrip];
    if (look_up_mask(p, w, 0, w.rows, range, bits) == Cover::Empty) continue;
    const bool last = range.end >= walk.keys.end;
    const Walk& owner = last ? then : walk;
    const Range following = owner.tile(last ? then.keys.begin : range.end);
    const TileAt keys(p, w, p.k, range), values(p, w, p.v, range), next_keys(p, owner.w, p.k, following);
    const TileAt next_values(p, owner.w, p.v, streams ? following : Range{});
    const Due beside_keys{keys, streams ? next_keys : values, rows_ahead, into_l2, by_heads, paced};
    const auto weigh = [&](int row, int rows) __attribute__((noinline)) {
      float* scores = s.scores + row * kTileKeys;
      score_few(p, w, scores, row, rows, range, keys.n, bits + row);
      if (p.probes)
        softmax_strip_probed(p, s, scores, row, rows, padded, range);
      else
        softmax_strip(s, scores, row, rows, padded);
    };
    if (by_heads) {  // a head at a time, so that what is asked for goes on coming meanwhile
      multiply_keys_by_heads<O>(p, s, w.rows / each, each, keys, beside_keys, [&](int row) { weigh(row, each); });
    } else {
      multiply_keys<O>(p, w, s, 0, w.rows, each, keys, beside_keys);
      weigh(0, w.rows);
    }
    const Due beside_values{values, streams ? next_values : next_keys, rows_ahead, into_l2, by_heads, paced};
    add_few<O>(p, w, s, padded, values, beside_values, bits);
  }
}

/// Run `split` of a piece of few rows of some heads; `partials` null when it is the only one.
template <class O>
inline void forward_few(const Problem& p, const Plan& plan, const Piece& w, const Scratch& s, int split,
                        float* partials) {
  const int padded = plan.padded_value_dim;
  begin_rows<O>(p, w, s, padded, 0, w.rows);
  begin_probes(p, w, s, 0, w.rows);
  if (split > 0)
    for (int i = 0; i < w.rows; ++i) {  // the sink joins the first run alone
      set_base(s, i, minus_infinity());
      store(s.sum + i * kLanes, 0.0f);
    }
  const Range span = visible_span(p, w);
  const int each = p.group() * w.queries, most = split_keys(p, w.batch);
  const Range run = partials ? Range{at_least(span.begin, split * most), at_most(span.end, (split + 1) * most)} : span;
  const int together = heads_walking<O>(p, w, each, plan.into_l2) * each;
  const auto walk = [&](int row, Range keys) -> Walk {
    return {{w.batch, w.kv_head + row / each, 0, at_most(together, w.rows - row), w.queries, w.keys}, keys};
  };
  const Walk next_run = walk(0, {run.end, at_most(run.end + most, span.end)});
  for (int row = 0; row < w.rows; row += together) {
    const Walk then = row + together < w.rows ? walk(row + together, run) : next_run;
    fold_run<O>(p, walk(row, run), then, rows_from<O>(p, s, row, padded), padded, plan.into_l2);
  }
  if (partials)
    save_split(p, s, w.rows, padded,
               partials + std::ptrdiff_t{split} * heads_together(p, w.batch) * p.group() * w.queries *
                              split_floats(p, padded));
  else
    finish_rows(p, w, s, padded, 0, w.rows), finish_probes(p, w, s, 0, w.rows);
}

}  // namespace fovea::FOVEA_ISA
