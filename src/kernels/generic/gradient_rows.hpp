// The frame of a backward pass: how it is cut, the rows that enter and leave it, and the sums towards dK and dV. What
// becomes of a strip of rows and a tile of keys is a piece's own: gradients.hpp, gradients_tiles.hpp.
#pragma once
#include "kernels/generic/gradient_operands.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kRowsAhead = 8;            // are asked for: rows of heads side by side lie in pages of their own
inline constexpr int kMostGradientRows = 1536;  // of a piece

/// One piece of an item: its rows, and all that its steps share.
template <class O>
struct GradientRows {
  using Operands = O;
  using Number = typename O::Number;

  const Problem& p;
  const GradientProblem& g;
  const GradientPlan& plan;
  const typename O::Scratch& s;
  Piece w;
  float* sums;  // [keys of the batch row, row_floats]: dk, dv of each key
  std::ptrdiff_t row_floats;
  bool strip_finite[kMostGradientRows / O::kRows];
  bool packed[kMostKeyTiles], keys_finite[kMostKeyTiles];  // of the block of keys at hand

  /// The rows that enter: Q, dout, delta, lse; nothing yet in dQ. The rest of the last register tile are rows of zeros
  /// that see nothing.
  void begin() {
    const int d = plan.padded_head_dim, v = plan.padded_value_dim, whole = round_up(w.rows, O::kFill);
    for (int row = 0; row < w.rows; row += O::kRows) strip_finite[row / O::kRows] = true;
    for (int i = 0; i < whole * d; i += kLanes) store(s.dq + i, 0.0f);
    for_segments(p, w, 0, w.rows, [&](const Segment& seg) {
      for (int i = 0; i < seg.rows; ++i) {
        if (i + kRowsAhead < seg.rows) ask_for_rows(seg.head, seg.query + i + kRowsAhead);
        read_rows(seg.head, seg.query + i, seg.row + i);
      }
    });
    for (int r = w.rows; r < whole; ++r) {
      for (int j = 0; j < d; ++j) s.queries[r * d + j] = Number(0.0f);
      for (int j = 0; j < v; ++j) s.dout[r * v + j] = Number(0.0f);
      s.shift[r] = O::shift(-minus_infinity()), s.delta[r] = 0;
    }
    O::finish_rows(s, whole, d, v);
  }
  /// dq of the piece's rows, rounded once.
  void finish() const {
    for_segments(p, w, 0, w.rows, [&](const Segment& seg) {
      for (int i = 0; i < seg.rows; ++i) {
        prefetch_row<1>(g.dq, offset(g.dq, seg.head, seg.query + at_most(i + kRowsAhead, seg.rows - 1)), p.head_dim);
        narrow_row(O::dq_row(s, seg.row + i, plan.padded_head_dim), static_cast<float>(p.scale), p.head_dim, g.dq,
                   offset(g.dq, seg.head, seg.query + i));
      }
    });
  }

 protected:
  /// What a row and a key leave: whether the row sees the key, P and dS.
  struct Meeting {
    bool seen;
    float weight, dscore;
  };
  /// The three sums where NaN or infinity lies behind some row's mask: 0 · NaN must not leak, so what is hidden is
  /// stepped over. meeting(i, j) of row `row` + i and the tile's key j.
  template <class F>
  void add_around_mask(Range keys, int row, int rows, F meeting) const {
    const int d = plan.padded_head_dim, v = plan.padded_value_dim;
    float* dkv = sums + keys.begin * row_floats;
    for (int j = 0; j < keys.end - keys.begin; ++j, dkv += row_floats) {
      F32Gradients::read_row(p.k, p.k_offset(w.batch, w.kv_head, keys.begin + j), p.head_dim, s.rows, d);
      for (int i = 0; i < rows; ++i) {
        const Meeting m = meeting(i, j);
        if (!m.seen) continue;
        add_row(m.dscore, s.queries + std::ptrdiff_t{row + i} * d, d, dkv);
        add_row(m.weight, s.dout + std::ptrdiff_t{row + i} * v, v, dkv + d);
        O::add_to_dq(s, row + i, d, m.dscore, s.rows);
      }
    }
  }

 private:
  std::int64_t offset(const Operand& x, int head, int t) const {
    return w.batch * x.batch + (t + (p.q_begin ? p.q_begin[w.batch] : 0)) * x.time + head * x.head;
  }
  void ask_for_rows(int head, int t) const {
    prefetch_row<0>(p.q, p.q_offset(w.batch, head, t), p.head_dim);
    prefetch_row<0>(p.out, p.out_offset(w.batch, head, t), p.value_dim);
    prefetch_row<0>(g.dout, offset(g.dout, head, t), p.value_dim);
  }
  /// Query t of a head becomes row r.
  void read_rows(int head, int t, int r) {
    const int d = plan.padded_head_dim, v = plan.padded_value_dim;
    Number *q = s.queries + r * d, *o = s.dout + r * v;
    O::read_query(p, p.q_offset(w.batch, head, t), q, d);
    O::read_row(g.dout, offset(g.dout, head, t), p.value_dim, o, v);
    float* out = s.rows;
    for (int j = p.value_dim; j < v; ++j) out[j] = 0;
    widen_row(p.out, p.out_offset(w.batch, head, t), p.value_dim, out);
    Vec poison = 0.0f, delta = 0.0f;  // poison: 0, or NaN where a row holds what is not finite
    for (int j = 0; j < d; j += kLanes) poison = fma(load(q + j), 0.0f, poison);
    for (int j = 0; j < v; j += kLanes) {
      const Vec x = load(o + j);
      poison = fma(x, 0.0f, poison), delta = fma(x, load(out + j), delta);
    }
    if (!(reduce_add(poison) == 0)) strip_finite[r / O::kRows] = false;
    const std::int64_t at = p.lse_offset(w.batch, head, t);
    s.shift[r] = O::shift(p.lse[at] == minus_infinity() ? -minus_infinity() : p.lse[at]);
    s.delta[r] = g.delta[at] = reduce_add(delta);
  }
};

/// For operands whose rows are filled up to multiples of `unit`, itself one of kLanes: f32's can do with any.
inline GradientPlan plan_gradients(const Problem& p, int unit) {
  GradientPlan plan;
  plan.padded_head_dim = round_up(p.head_dim, unit);
  plan.padded_value_dim = round_up(p.value_dim, unit);
  const int d = plan.padded_head_dim, v = plan.padded_value_dim;
  plan.key_tiles = at_least(1, at_most(kMostKeyTiles, (256 << 10) / (kTileKeys * 4 * (2 * d + v))));
  const int rows = p.group() * p.queries;
  const int most = at_least(kStrip, at_most(kMostGradientRows, (3 << 20) / (4 * (2 * d + v))) / kStrip * kStrip);
  // Items keep threads busy, two dozen of them where there is much to do; but each split has sums of its own, which to
  // clear and add up took 7% of a bf16 pass of 2048 rows in two. So eight items of 512 rows, or more of 2048.
  const int items = at_least(1, p.batches * p.kv_heads);
  const auto split = [&](int wanted, int least) { return at_most((wanted + items - 1) / items, rows / least); };
  plan.splits = at_least(1, at_least(split(8, 512), split(24, 2048)));
  const int share = round_up((rows + plan.splits - 1) / plan.splits, kStrip), pieces = (share + most - 1) / most;
  plan.piece_rows = at_least(kStrip, round_up((share + pieces - 1) / at_least(1, pieces), kStrip));
  plan.items = std::int64_t{p.batches} * p.kv_heads * plan.splits;
  constexpr std::int64_t kMostSums = 16 << 20;  // bytes: what caches do not have is better shared by all heads
  plan.sum_rows = plan.splits == 1 && std::int64_t{p.keys} * (d + v) * 4 <= kMostSums ? p.keys : 0;
  F32Gradients::Scratch unused;
  plan.scratch_bytes = lay_out(plan, nullptr, &unused);
  return plan;
}

/// P: a piece, made of GradientRows<O> alone, which offers kRows, rows that it takes together, and fold() them.
template <class P>
inline void backward_item(const Problem& p, const GradientProblem& g, const GradientPlan& plan, std::int64_t item,
                          std::byte* memory) {
  const int split = static_cast<int>(item % plan.splits), kv_head = static_cast<int>(item / plan.splits % p.kv_heads),
            batch = static_cast<int>(item / plan.splits / p.kv_heads);
  const int all = p.group() * p.queries_of(batch), share = round_up((all + plan.splits - 1) / plan.splits, kStrip);
  using O = typename P::Operands;
  typename O::Scratch s;
  lay_out(plan, memory, &s);
  const std::ptrdiff_t row_floats = plan.padded_head_dim + plan.padded_value_dim;
  const std::int64_t first_key = p.kv_begin ? p.kv_begin[batch] : std::int64_t{batch} * p.keys;
  const bool own = plan.sum_rows > 0;  // then what is summed is complete, and becomes dk and dv while caches have it
  float* sums =
      own ? s.sums : g.sums + ((std::int64_t{split} * p.kv_heads + kv_head) * g.key_rows + first_key) * row_floats;
  if (own) __builtin_memset(sums, 0, sizeof(float) * static_cast<std::size_t>(p.keys_of(batch) * row_floats));
  const int end = at_most(all, (split + 1) * share);
  for (int first = split * share; first < end; first += plan.piece_rows) {
    const Piece w{batch, kv_head, first, at_most(plan.piece_rows, end - first), p.queries_of(batch), p.keys_of(batch)};
    P piece{{p, g, plan, s, w, sums, row_floats, {}, {}, {}}};
    piece.begin();
    const Range span = visible_span(p, w);
    for (int key = span.begin; key < span.end; key += plan.key_tiles * kTileKeys) {
      const int tiles = at_most(plan.key_tiles, (span.end - key + kTileKeys - 1) / kTileKeys);
      for (bool& packed : piece.packed) packed = false;
      for (int row = 0; row < w.rows; row += P::kRows)
        for (int t = 0; t < tiles; ++t) {
          const Range keys{key + t * kTileKeys, at_most(key + (t + 1) * kTileKeys, w.keys)};
          piece.fold(t, keys, row, at_most(P::kRows, w.rows - row));
        }
    }
    piece.finish();
  }
  const float factor = O::factor(p);
  const auto place = [&](const Operand& x, int key) {
    return batch * x.batch + (key + (p.kv_begin ? p.kv_begin[batch] : 0)) * x.time + kv_head * x.head;
  };
  for (int key = 0; key < p.keys_of(batch) && (own || factor != 1); ++key) {
    float *dk = sums + key * row_floats, *dv = dk + plan.padded_head_dim;
    if (own) {
      const int later = at_most(key + kRowsAhead, p.keys_of(batch) - 1);
      prefetch_row<1>(g.dk, place(g.dk, later), p.head_dim), prefetch_row<1>(g.dv, place(g.dv, later), p.value_dim);
      narrow_row(dk, factor, p.head_dim, g.dk, place(g.dk, key));
      narrow_row(dv, 1, p.value_dim, g.dv, place(g.dv, key));
    } else {
      for (int d = 0; d < plan.padded_head_dim; d += kLanes) store(dk + d, load(dk + d) * factor);
    }
  }
}

}  // namespace fovea::FOVEA_ISA
