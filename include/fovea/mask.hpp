// Masks: which keys a query sees. Three-valued logic over tiles, so that what is hidden is never computed.
//
// A mask is a value with `operator()(Site) -> bool`, the truth, and `cover(Tile) -> Cover`, what it knows about a whole
// tile (Partial is always a safe answer). Bands are in band.hpp, the rest and the algebra in mask_algebra.hpp; here is
// what a kernel gets to see of them: the visibility bits of a tile, behind AnyMask.
#pragma once
#include <cstdint>

#include <fovea/mask_algebra.hpp>

namespace fovea {

constexpr std::uint64_t low_bits(int n) {
  return n <= 0 ? 0 : n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}

/// Cover of the rows' bits: what the words say, once they are known.
constexpr Cover cover_of(const std::uint64_t* bits, int rows, int keys) {
  std::uint64_t any = 0, all = ~std::uint64_t{0};
  for (int i = 0; i < rows; ++i) any |= bits[i], all &= bits[i];
  return any == 0 ? Cover::Empty : all == low_bits(keys) ? Cover::Full : Cover::Partial;
}

class AnyMask;
template <Mask M>
Cover tile_bits(const M& m, const Tile& t, std::uint64_t* bits);
template <Mask M>
Range tile_span(const M& m, const Tile& t);

namespace detail {
Cover bits_of(const AnyMask& m, const Tile& t, std::uint64_t* bits);
Range span_of(const AnyMask& m, const Tile& t);
constexpr Range clip(Range r, int keys) { return {std::clamp(r.begin, 0, keys), std::clamp(r.end, 0, keys)}; }

template <Mask M>
Cover bits_of(const M& m, const Tile& t, std::uint64_t* bits) {
  const Cover whole = m.cover(t);
  if (whole != Cover::Partial) return whole;
  const int rows = t.query.end - t.query.begin, keys = t.key.end - t.key.begin;
  for (int i = 0; i < rows; ++i) {
    const int q = t.query.begin + i;
    if constexpr (Banded<M>) {
      const Range r = m.keys(Row{t.batch, t.head, q, t.queries, t.keys});
      bits[i] = low_bits(std::min(r.end - t.key.begin, keys)) & ~low_bits(r.begin - t.key.begin);
    } else {
      bits[i] = 0;
      for (int j = 0; j < keys; ++j)
        bits[i] |= std::uint64_t{m(Site{t.batch, t.head, q, t.key.begin + j, t.queries, t.keys})} << j;
    }
  }
  return cover_of(bits, rows, keys);
}
template <Mask A, Mask B, class Join>
Cover join_bits(const A& a, const B& b, const Tile& t, std::uint64_t* bits, Cover absorbing, Join join) {
  const int rows = t.query.end - t.query.begin, keys = t.key.end - t.key.begin;
  const Cover left = tile_bits(a, t, bits);
  if (left == absorbing) return left;
  if (left != Cover::Partial) return tile_bits(b, t, bits);  // the neutral element
  std::uint64_t other[kTileQueries];
  const Cover right = tile_bits(b, t, other);
  if (right != Cover::Partial) return right == absorbing ? right : left;
  for (int i = 0; i < rows; ++i) bits[i] = join(bits[i], other[i]);
  return cover_of(bits, rows, keys);
}
template <Mask A, Mask B>
Cover bits_of(const And<A, B>& m, const Tile& t, std::uint64_t* bits) {
  return join_bits(m.a, m.b, t, bits, Cover::Empty, [](auto x, auto y) { return x & y; });
}
template <Mask A, Mask B>
Cover bits_of(const Or<A, B>& m, const Tile& t, std::uint64_t* bits) {
  return join_bits(m.a, m.b, t, bits, Cover::Full, [](auto x, auto y) { return x | y; });
}
template <Mask A>
Cover bits_of(const Not<A>& m, const Tile& t, std::uint64_t* bits) {
  const Cover inner = tile_bits(m.a, t, bits);
  if (inner == Cover::Partial)
    for (int i = 0; i < t.query.end - t.query.begin; ++i) bits[i] = ~bits[i] & low_bits(t.key.end - t.key.begin);
  return !inner;
}
template <Mask M>
Range span_of(const M& m, const Tile& t) {
  if constexpr (Banded<M>) {
    const Range first = m.keys(Row{t.batch, t.head, t.query.begin, t.queries, t.keys});
    const Range last = m.keys(Row{t.batch, t.head, t.query.end - 1, t.queries, t.keys});
    return {first.begin, last.end};
  } else {
    return {0, t.keys};
  }
}
template <Mask A, Mask B>
Range span_of(const And<A, B>& m, const Tile& t) {
  const Range x = tile_span(m.a, t), y = tile_span(m.b, t);
  return {std::max(x.begin, y.begin), std::min(x.end, y.end)};
}
template <Mask A, Mask B>
Range span_of(const Or<A, B>& m, const Tile& t) {
  const Range x = tile_span(m.a, t), y = tile_span(m.b, t);
  if (x.begin >= x.end || y.begin >= y.end) return x.begin >= x.end ? y : x;
  return {std::min(x.begin, y.begin), std::max(x.end, y.end)};
}
}  // namespace detail

/// The visibility bits of a tile of at most kTileKeys keys; see MaskView::bits.
template <Mask M>
Cover tile_bits(const M& m, const Tile& t, std::uint64_t* bits) {
  return detail::bits_of(m, t, bits);
}
/// The run of keys outside which the tile's queries see nothing; see MaskView::span.
template <Mask M>
Range tile_span(const M& m, const Tile& t) {
  return detail::clip(detail::span_of(m, t), t.keys);
}

/// A mask chosen at run time. It is a Mask itself, so it composes: `AnyMask m; if (wanted) m = m & causal();`.
class AnyMask {
 public:
  AnyMask() = default;  // everything is visible
  template <class M>  // asked in this order, or Mask<AnyMask> would ask whether AnyMask is made of an AnyMask
  requires(!std::same_as<M, AnyMask> && Mask<M>) AnyMask(M m)
      : self_(std::make_shared<const M>(std::move(m))) {  // NOLINT: any mask is an AnyMask
    view_ = {self_.get(), [](const void* p, const Site& s) { return (*static_cast<const M*>(p))(s); },
             [](const void* p, const Tile& t) { return tile_span(*static_cast<const M*>(p), t); },
             [](const void* p, const Tile& t, std::uint64_t* b) { return tile_bits(*static_cast<const M*>(p), t, b); }};
    complaint_ = [](const void* p, const Extents& e) { return complaint_of(*static_cast<const M*>(p), e); };
  }
  bool operator()(const Site& s) const { return !view_.self || view_.sees(view_.self, s); }
  Cover cover(const Tile&) const { return view_.self ? Cover::Partial : Cover::Full; }
  std::string complaint(const Extents& e) const { return view_.self ? complaint_(view_.self, e) : std::string(); }
  /// Borrowed: valid as long as this object (or a copy of it) lives.
  const MaskView& view() const { return view_; }

 private:
  std::string (*complaint_)(const void*, const Extents&) = nullptr;
  std::shared_ptr<const void> self_;
  MaskView view_;
};

namespace detail {
inline Cover bits_of(const AnyMask& m, const Tile& t, std::uint64_t* bits) {
  return m.view().self ? m.view().bits(m.view().self, t, bits) : Cover::Full;
}
inline Range span_of(const AnyMask& m, const Tile& t) {
  return m.view().self ? m.view().span(m.view().self, t) : Range{0, t.keys};
}
}  // namespace detail

/// Any mask asked once and kept: a cover per tile, and bits for the partial ones. For masks that are costly to ask and
/// used by many passes (every layer of a model, forward and backward). Memory: 8 bytes a query and partial tile.
class BlockMap {
 public:
  /// Error when the mask does not fit these sizes.
  BlockMap(const AnyMask& mask, int batches, int heads, int queries, int keys);
  bool operator()(const Site& s) const;
  Cover cover(const Tile& t) const;
  std::string complaint(const Extents& e) const;
  double fill() const;  ///< the fraction of tiles that are not empty

 private:
  static constexpr int kRows = 64;
  struct Cell {
    Cover cover;
    std::size_t words;
  };  // words: index of the tile's first word
  const Cell& cell(int batch, int head, int row, int column) const;
  Extents extents_;
  int rows_, columns_;
  std::shared_ptr<const std::vector<Cell>> cells_;
  std::shared_ptr<const std::vector<std::uint64_t>> words_;
};

}  // namespace fovea
