// Masks: which keys a query sees. Three-valued logic over tiles, so that what is hidden is never computed.
//
// A mask is a value with `operator()(Site) -> bool`, the truth, and `cover(Tile) -> Cover`, what it knows about a whole
// tile (Partial is always a safe answer). Masks whose rows see one run of keys derive from Band and write `keys(Row)`
// alone: truth, cover, visibility bits and the range of key tiles to visit all follow from it. Masks compose with & | !
// and except().
#pragma once
#include <algorithm>
#include <concepts>
#include <cstdint>
#include <fovea/tile.hpp>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace fovea {

template <class M>
concept Mask = std::copy_constructible<M> && requires(const M m, Site s, Tile t) {
  { m(s) } -> std::same_as<bool>;
  { m.cover(t) } -> std::same_as<Cover>;
};
/// Both ends of keys(row) must not move backward as the query grows (a property test holds every band to it).
template <class M>
concept Banded = Mask<M> && requires(const M m, Row r) {
  { m.keys(r) } -> std::same_as<Range>;
};

/// Where query 0 stands among the keys, for masks that compare positions.
struct Align {
  enum Kind { BottomRight, TopLeft, OnKey } kind = BottomRight;
  int key = 0;  // OnKey: the key that query 0 stands on
  constexpr int offset(int queries, int keys) const {
    return kind == BottomRight ? keys - queries : kind == OnKey ? key : 0;
  }
  constexpr int place(const Row& r) const { return r.query + offset(r.queries, r.keys); }
};
inline constexpr Align bottom_right{Align::BottomRight}, top_left{Align::TopLeft};
constexpr Align on_key(int key) { return {Align::OnKey, key}; }

/// Sizes of the whole score matrix. A mask or score that refers to memory may have
/// `complaint(const Extents&) -> std::string`, asked once before any kernel runs; empty means that it fits.
struct Extents {
  int batches, heads, queries, keys;
};

// ----------------------------------------------------------------------------------------------------------------
// bands

template <class Self>
struct Band {
  constexpr bool operator()(const Site& s) const {
    const Range r = row(s.batch, s.head, s.query, s.queries, s.keys);
    return r.begin <= s.key && s.key < r.end;
  }
  constexpr Cover cover(const Tile& t) const {
    const Range first = row(t.batch, t.head, t.query.begin, t.queries, t.keys);
    const Range last = row(t.batch, t.head, t.query.end - 1, t.queries, t.keys);
    if (last.end <= t.key.begin || first.begin >= t.key.end) return Cover::Empty;
    if (last.begin <= t.key.begin && first.end >= t.key.end) return Cover::Full;
    return Cover::Partial;
  }

 private:
  constexpr Range row(int batch, int head, int query, int queries, int keys) const {
    return static_cast<const Self&>(*this).keys(Row{batch, head, query, queries, keys});
  }
};

struct Everything : Band<Everything> {
  constexpr Range keys(const Row& r) const { return {0, r.keys}; }
};
struct Causal : Band<Causal> {
  Align align;
  constexpr explicit Causal(Align a) : align(a) {}
  constexpr Range keys(const Row& r) const { return {0, align.place(r) + 1}; }
};
struct Window : Band<Window> {
  int left, right;  // −1: unbounded
  Align align;
  constexpr Window(int l, int r, Align a) : left(l), right(r), align(a) {}
  constexpr Range keys(const Row& r) const {
    const int at = align.place(r);
    return {left < 0 || at - left < 0 ? 0 : at - left, right < 0 ? r.keys : at + right + 1};
  }
};
struct Prefix : Band<Prefix> {
  int length;
  Align align;
  constexpr Prefix(int n, Align a) : length(n), align(a) {}
  constexpr Range keys(const Row& r) const { return {0, std::max(length, align.place(r) + 1)}; }
};
struct Chunked : Band<Chunked> {
  int size;
  Align align;
  constexpr Chunked(int n, Align a) : size(n), align(a) {}
  constexpr Range keys(const Row& r) const {
    const int at = align.place(r), chunk = (at >= 0 ? at / size : (at + 1) / size - 1) * size;
    return {std::max(0, chunk), chunk + size};
  }
};
struct Documents : Band<Documents> {
  std::shared_ptr<const std::vector<int>> ends;  // ascending; document i is [ends[i-1], ends[i])
  Align align;
  Documents(std::vector<int> e, Align a) : ends(std::make_shared<const std::vector<int>>(std::move(e))), align(a) {}
  Range keys(const Row& r) const {
    const auto end = std::upper_bound(ends->begin(), ends->end(), align.place(r));
    if (end == ends->end())
      return {ends->empty() ? 0 : ends->back(), r.keys};  // what follows the last is one more document
    return {end == ends->begin() ? 0 : *(end - 1), *end};
  }
};

/// Every key is visible (the default).
constexpr Everything everything() { return {}; }
/// Keys up to the query's own place. Bottom-right: the last query stands on the last key; top-left: the first on the
/// first.
constexpr Causal causal(Align align = bottom_right) { return Causal(align); }
/// `left` keys before the query's own place, its own, and `right` after it; −1 is unbounded (FlashAttention's
/// convention).
constexpr Window window(int left, int right = 0, Align align = bottom_right) { return {left, right, align}; }
/// Prefix-LM: everyone sees the first `length` keys, and causally what follows (Raffel et al. 2019, 1910.10683).
constexpr Prefix prefix(int length, Align align = bottom_right) { return {length, align}; }
/// Keys of the query's own chunk of `size` positions.
constexpr Chunked chunked(int size, Align align = bottom_right) { return {size, align}; }
/// Documents packed one after another, given by their ascending ends; a query sees its own document.
inline Documents documents(std::vector<int> ends, Align align = bottom_right) { return {std::move(ends), align}; }

// -------------------------------------------------------------------------------------------------- everything that
// isn't

/// Borrowed numbers, one per site, read through strides; dimensions of size 1 broadcast. What Grid and Bias read.
template <class T>
struct PerSite {
  const T* data = nullptr;
  int shape[4] = {1, 1, 1, 1};               // [batch, head, query, key]
  std::ptrdiff_t strides[4] = {0, 0, 0, 0};  // in elements, 0 where the dimension broadcasts
  const T& operator()(const Site& s) const {
    return data[s.batch * strides[0] + s.head * strides[1] + s.query * strides[2] + s.key * strides[3]];
  }
  std::string complaint(const Extents& e, const char* name) const {
    const int wanted[4] = {e.batches, e.heads, e.queries, e.keys};
    bool fits = true;
    for (int i = 0; i < 4; ++i) fits = fits && (shape[i] == 1 || shape[i] == wanted[i]);
    return fits ? ""
                : std::string(name) + " is " + list(shape) +
                      " and does not broadcast to [batch, heads, queries, keys] = " + list(wanted);
  }
  static std::string list(const int (&n)[4]) {
    return "[" + std::to_string(n[0]) + ", " + std::to_string(n[1]) + ", " + std::to_string(n[2]) + ", " +
           std::to_string(n[3]) + "]";
  }
};

/// A boolean per site. Does not own the memory; made by visible() in attention.hpp.
struct Grid {
  PerSite<bool> site;
  bool operator()(const Site& s) const { return site(s); }
  std::string complaint(const Extents& e) const { return site.complaint(e, "mask"); }
  Cover cover(const Tile&) const { return Cover::Partial; }
};

/// Blocks of `size` × `size` sites, each visible or not: [head_count, query_blocks, key_blocks], heads beyond the last
/// wrap.
struct Blocks {
  int size, heads, query_blocks, key_blocks;
  std::shared_ptr<const std::vector<bool>> visible;
  bool at(int head, int qb, int kb) const {
    if (qb >= query_blocks || kb >= key_blocks) return false;
    const std::size_t row =
        static_cast<std::size_t>(head % heads) * static_cast<std::size_t>(query_blocks) + static_cast<std::size_t>(qb);
    return (*visible)[row * static_cast<std::size_t>(key_blocks) + static_cast<std::size_t>(kb)];
  }
  bool operator()(const Site& s) const { return at(s.head, s.query / size, s.key / size); }
  Cover cover(const Tile& t) const {
    bool any = false, all = true;
    for (int q = t.query.begin / size; q * size < t.query.end; ++q)
      for (int k = t.key.begin / size; k * size < t.key.end; ++k) at(t.head, q, k) ? any = true : all = false;
    return all ? Cover::Full : any ? Cover::Partial : Cover::Empty;
  }
};
/// A list of visible blocks {query_block, key_block}, the same for every head.
Blocks blocks(int size, int query_blocks, int key_blocks, const std::vector<std::pair<int, int>>& visible);

/// Any predicate on a Site. It knows nothing of tiles, so each visited tile is asked element by element, once, before
/// its product.
template <class F>
struct Where {
  F truth;
  constexpr bool operator()(const Site& s) const { return truth(s); }
  constexpr Cover cover(const Tile&) const { return Cover::Partial; }
};
/// Your own mask in one line: `mask([](Site s) { return s.query - s.key < 128 || s.key % 64 == 0; })`.
template <class F>
requires std::same_as < std::invoke_result_t<const F&, const Site&>,
bool > constexpr Where<F> mask(F truth) { return {std::move(truth)}; }

// --------------------------------------------------------------------------------------------------------------
// algebra

/// What a mask or score says against these sizes; empty when nothing.
template <class T>
std::string complaint_of(const T& part, const Extents& e) {
  if constexpr (requires {
                  { part.complaint(e) } -> std::same_as<std::string>;
                })
    return part.complaint(e);
  else
    return {};
}
template <class A, class B>
std::string first_complaint(const A& a, const B& b, const Extents& e) {
  std::string s = complaint_of(a, e);
  return s.empty() ? complaint_of(b, e) : s;
}

template <Banded A, Banded B>
struct Both : Band<Both<A, B>> {  // bands are closed under intersection
  A a;
  B b;
  constexpr Both(A a_, B b_) : a(std::move(a_)), b(std::move(b_)) {}
  constexpr Range keys(const Row& r) const {
    const Range x = a.keys(r), y = b.keys(r);
    return {std::max(x.begin, y.begin), std::min(x.end, y.end)};
  }
};
template <Mask A, Mask B>
struct And {
  A a;
  B b;
  constexpr bool operator()(const Site& s) const { return a(s) && b(s); }
  constexpr Cover cover(const Tile& t) const { return a.cover(t) & b.cover(t); }
  std::string complaint(const Extents& e) const { return first_complaint(a, b, e); }
};
template <Mask A, Mask B>
struct Or {
  A a;
  B b;
  constexpr bool operator()(const Site& s) const { return a(s) || b(s); }
  constexpr Cover cover(const Tile& t) const { return a.cover(t) | b.cover(t); }
  std::string complaint(const Extents& e) const { return first_complaint(a, b, e); }
};
template <Mask A>
struct Not {
  A a;
  constexpr bool operator()(const Site& s) const { return !a(s); }
  constexpr Cover cover(const Tile& t) const { return !a.cover(t); }
  std::string complaint(const Extents& e) const { return complaint_of(a, e); }
};

template <Mask A, Mask B>
constexpr auto operator&(A a, B b) {
  if constexpr (Banded<A> && Banded<B>)
    return Both<A, B>(std::move(a), std::move(b));
  else
    return And<A, B>{std::move(a), std::move(b)};
}
template <Mask A, Mask B>
constexpr Or<A, B> operator|(A a, B b) {
  return {std::move(a), std::move(b)};
}
template <Mask A>
constexpr Not<A> operator!(A a) {
  return {std::move(a)};
}
/// All but what `a` shows. (The same as !a; g++ warns on `!a | b`, so this spelling reads better in compositions.)
template <Mask A>
constexpr Not<A> except(A a) {
  return {std::move(a)};
}

// -------------------------------------------------------------------------------------- erasure: what a kernel gets to
// see

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
  template <Mask M>
  requires(!std::same_as<M, AnyMask>) AnyMask(M m)
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
  BlockMap(const AnyMask& mask, int batch, int heads, int queries, int keys);
  bool operator()(const Site& s) const;
  Cover cover(const Tile& t) const;
  double fill() const;  ///< the fraction of tiles that are not empty

 private:
  static constexpr int kRows = 64;
  struct Cell {
    Cover cover;
    std::size_t words;
  };  // words: index of the tile's first word
  const Cell& cell(int batch, int head, int row, int column) const;
  int heads_, rows_, columns_;
  std::shared_ptr<const std::vector<Cell>> cells_;
  std::shared_ptr<const std::vector<std::uint64_t>> words_;
};

}  // namespace fovea
