// Masks that are not bands (boolean tensors, blocks, any predicate), and the algebra that composes all of them: & | !
// except().
#pragma once
#include <fovea/band.hpp>

namespace fovea {

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
  std::string complaint(const Extents&) const {
    return size > 0 ? "" : "blocks: the size is " + std::to_string(size) + "; expected at least 1";
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
  std::string complaint(const Extents& e) const { return first_complaint(a, b, e); }
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

}  // namespace fovea
