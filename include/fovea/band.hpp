// Bands: masks whose rows see one run of keys. Causal, windows, prefix, chunks, packed documents.
//
// A band writes `keys(Row) -> Range` alone; its truth, its cover of a tile, its visibility bits and the range of key
// tiles to visit all follow from that one formula.
#pragma once
#include <algorithm>
#include <concepts>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fovea/tile.hpp>

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
    return {left < 0 || at < left ? 0 : at - left, right < 0 || right >= r.keys - at ? r.keys : at + right + 1};
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
  std::string complaint(const Extents&) const {
    return size > 0 ? "" : "chunked: the size is " + std::to_string(size) + "; expected at least 1";
  }
};
struct Documents : Band<Documents> {
  std::shared_ptr<const std::vector<int>> ends;  // ascending; document i is [ends[i-1], ends[i])
  Align align;
  Documents(std::vector<int> e, Align a) : ends(std::make_shared<const std::vector<int>>(std::move(e))), align(a) {}
  Range keys(const Row& r) const {
    const int at = align.place(r);
    if (at < 0) return {0, 0};  // before the first key, so in no document
    const auto end = std::upper_bound(ends->begin(), ends->end(), at);
    if (end == ends->end())
      return {ends->empty() ? 0 : ends->back(), r.keys};  // what follows the last is one more document
    return {end == ends->begin() ? 0 : *(end - 1), *end};
  }
  std::string complaint(const Extents&) const {
    const bool fine = std::is_sorted(ends->begin(), ends->end()) && (ends->empty() || ends->front() >= 0);
    return fine ? "" : "documents: the ends must ascend from 0 or more";
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

}  // namespace fovea
