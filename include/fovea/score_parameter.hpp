// What the numbers inside a score receive when attention is differentiated: a soft-cap's cap, ALiBi's slopes, a bias.
//
// A score with such numbers writes `parameter()`, which says how they lie over the score matrix, and
// `parameter_slope(logit, Site)`, the derivative of its value by the number that this site uses. Walking a composed
// score backward, from what the softmax asks of its value to what reaches the logit, each part takes its share on the
// way.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <fovea/tile.hpp>

namespace fovea {

/// The numbers of one part of a score, over [batch, heads, queries, keys]; a dimension of size 1 is shared along it.
struct ScoreParameter {
  const char* name;  // "softcap", "alibi", "bias"
  int shape[4];
  std::int64_t elements() const { return std::int64_t{shape[0]} * shape[1] * shape[2] * shape[3]; }
  bool varies(int dim) const { return shape[dim] > 1; }
  /// Which of them, in row-major order, a site uses.
  std::ptrdiff_t at(const Site& s) const {
    const int index[4] = {s.batch, s.head, s.query, s.key};
    std::ptrdiff_t place = 0;
    for (int d = 0; d < 4; ++d) place = place * shape[d] + (shape[d] > 1 ? index[d] : 0);
    return place;
  }
};

/// Receives what one site adds: to number `at` of parameter `which`, in order of composition.
using TakeShare = void (*)(void* to, int which, std::ptrdiff_t at, double share);

namespace detail {

template <class S>
concept Learnable = requires(const S s, float x, const Site& at) {
  { s.parameter() } -> std::same_as<ScoreParameter>;
  { s.parameter_slope(x, at) } -> std::convertible_to<float>;
};
template <class S>
concept Composed = requires(const S s) {
  typename S::IsComposed;
  s.a, s.b;
};
/// Parts chosen at run time answer for themselves.
template <class S>
concept ListsItsParts = requires(const S s, std::vector<ScoreParameter>& list) {
  s.add_parameters(list);
};

template <class S>
void add_parameters(const S& s, std::vector<ScoreParameter>& list) {
  if constexpr (Composed<S>)
    add_parameters(s.a, list), add_parameters(s.b, list);
  else if constexpr (ListsItsParts<S>)
    s.add_parameters(list);
  else if constexpr (Learnable<S>)
    list.push_back(s.parameter());
}
template <class S>
int count_parameters(const S& s) {
  if constexpr (Composed<S>)
    return count_parameters(s.a) + count_parameters(s.b);
  else if constexpr (ListsItsParts<S>)
    return s.count_parameters();
  else
    return Learnable<S>;
}

/// f(site, index into the tile's data) over a tile.
template <class F>
void for_sites(const ScoreTile& x, F f) {
  const Tile& at = x.at;
  for (int q = at.query.begin; q < at.query.end; ++q)
    for (int k = at.key.begin; k < at.key.end; ++k)
      f(Site{at.batch, at.head, q, k, at.queries, at.keys},
        (q - at.query.begin) * x.query_stride + (k - at.key.begin) * x.key_stride);
}

/// sums += Σ g · ∂s/∂parameter of one part. A tile's share of a number that many sites use is added up in double
/// first: thousands of tiles follow each other in float.
template <Learnable S>
void take_shares(const S& s, const ScoreTile& x, const float* g, float* sums) {
  const ScoreParameter p = s.parameter();
  double columns[kTileKeys] = {};  // of a number that does not vary with the query
  for_sites(x, [&](const Site& site, std::ptrdiff_t i) {
    if (g[i] == 0) return;  // what is hidden: 0 · NaN must not leak
    const float share = g[i] * static_cast<float>(s.parameter_slope(x.data[i], site));
    if (p.varies(2))
      sums[p.at(site)] += share;
    else
      columns[p.varies(3) ? site.key - x.at.key.begin : 0] += static_cast<double>(share);
  });
  if (p.varies(2) || x.at.query.begin == x.at.query.end) return;
  for (int k = x.at.key.begin; k < (p.varies(3) ? x.at.key.end : x.at.key.begin + 1); ++k)
    sums[p.at({x.at.batch, x.at.head, x.at.query.begin, k, x.at.queries, x.at.keys})] +=
        static_cast<float>(columns[k - x.at.key.begin]);
}

/// x: a tile of what enters s; g, laid out alike: ∂ by what leaves s, becomes ∂ by what enters it. sums [parameters of
/// s]: the arrays to add to.
template <class S>
void collect_tile(const S& s, const ScoreTile& x, float* g, float* const* sums) {
  if constexpr (Composed<S>) {
    float between[kTileQueries * kTileKeys];
    const ScoreTile y{between, x.query_stride, x.key_stride, x.at};
    for_sites(x, [&](const Site& site, std::ptrdiff_t i) { between[i] = static_cast<float>(s.a(x.data[i], site)); });
    collect_tile(s.b, y, g, sums + count_parameters(s.a));
    collect_tile(s.a, x, g, sums);
  } else if constexpr (ListsItsParts<S>) {
    s.collect_tile(x, g, sums);
  } else {
    if constexpr (Learnable<S>) take_shares(s, x, g, *sums);
    for_sites(x, [&](const Site& site, std::ptrdiff_t i) {
      if (g[i] != 0) g[i] *= Dual<float>(s(Dual<float>{x.data[i], 1.0f}, site)).slope;
    });
  }
}

/// The same for one site, in double.
template <class S>
double collect_site(const S& s, double x, double g, const Site& site, int first, void* to, TakeShare take) {
  if constexpr (Composed<S>) {
    const double before_b =
        collect_site(s.b, static_cast<double>(s.a(x, site)), g, site, first + count_parameters(s.a), to, take);
    return collect_site(s.a, x, before_b, site, first, to, take);
  } else if constexpr (ListsItsParts<S>) {
    return s.collect_site(x, g, site, first, to, take);
  } else {
    if constexpr (Learnable<S>)
      take(to, first, s.parameter().at(site), g * static_cast<double>(s.parameter_slope(x, site)));
    return g * Dual<double>(s(Dual<double>{x, 1.0}, site)).slope;
  }
}

}  // namespace detail
}  // namespace fovea
