// Pages of long texts: the strongest links of each row, and tiles that add up all the rest.
#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include <fovea/threads.hpp>

#include "look/page_parts.hpp"
#include "look/row_effects.hpp"

namespace fovea::look {
namespace {

constexpr int kFewestLinks = 4, kMostLinks = 16;     // of a row
constexpr int kFewestTiles = 8, kMostTiles = 96;     // a side
constexpr std::int64_t kWeightBytes = 4, kHalf = 2;  // F32, F16

int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// How the room is spent: tiles of every head first, then as many links a row as fit; when few fit, fewer heads.
struct Plan {
  int tile_queries = 1, tile_keys = 1, tiles_down = 0, tiles_across = 0, links = 0, linked = 0;
  DType key = DType::U16;
};

Plan plan_of(const PageGroup& group, std::int64_t heads, std::int64_t masks, std::int64_t room) {
  Plan p;
  p.key = group.keys < std::numeric_limits<std::uint16_t>::max() ? DType::U16 : DType::U32;
  const std::int64_t a_tile = heads * 2 * kHalf + masks;  // mass and peak of every head, cover of every mask
  const auto side = static_cast<int>(std::sqrt(static_cast<double>(room) / 4 / static_cast<double>(a_tile)));
  const int tiles = std::clamp(side, kFewestTiles, kMostTiles);
  p.tile_queries = ceil_div(group.queries, tiles), p.tile_keys = ceil_div(group.keys, tiles);
  p.tiles_down = ceil_div(group.queries, p.tile_queries), p.tiles_across = ceil_div(group.keys, p.tile_keys);

  const std::int64_t left = room - a_tile * p.tiles_down * p.tiles_across - masks * group.queries * 4;
  const auto head_bytes = [&](int links) {
    const std::int64_t row = links * (size_of(p.key) + kWeightBytes + kHalf) + 2 * kHalf;
    return group.queries * row + group.keys * kHalf;
  };
  const int most = std::min(kMostLinks, group.keys);
  p.links = most;
  while (p.links > std::min(kFewestLinks, most) && heads * head_bytes(p.links) > left) --p.links;
  p.linked = static_cast<int>(std::clamp<std::int64_t>(left / head_bytes(p.links), 0, heads));
  if (left < 0)
    throw Error(fmt::format("a page of {} heads over {} × {} tokens does not fit its {} bytes; choose fewer heads",
                            heads, group.queries, group.keys, room));
  return p;
}

/// cover U8 [M, T, T].
PageArray tile_cover(const PageMasks& masks, const PageGroup& group, const Plan& p) {
  const std::int64_t across = p.tiles_across, down = p.tiles_down;
  Plane plane("cover", DType::U8, {std::ssize(masks.distinct), down, across});
  for (std::int64_t m = 0; m < std::ssize(masks.distinct); ++m) {
    std::vector<std::int64_t> seen(static_cast<std::size_t>(down * across));
    for (int q = 0; q < group.queries; ++q)
      masks.distinct[static_cast<std::size_t>(m)]->for_visible(q, [&](int first, int last) {
        while (first < last) {
          const int tile = first / p.tile_keys, end = std::min(last, (tile + 1) * p.tile_keys);
          seen[static_cast<std::size_t>(q / p.tile_queries * across + tile)] += end - first;
          first = end;
        }
      });
    for (std::int64_t r = 0; r < down; ++r)
      for (std::int64_t c = 0; c < across; ++c) {
        const auto rows = std::min<std::int64_t>(p.tile_queries, group.queries - r * p.tile_queries);
        const auto columns = std::min<std::int64_t>(p.tile_keys, group.keys - c * p.tile_keys);
        const std::int64_t count = seen[static_cast<std::size_t>(r * across + c)];
        plane.byte((m * down + r) * across + c) = count == 0 ? 0 : count < rows * columns ? 1 : 2;
      }
  }
  return plane.take();
}

/// The arrays of a page of strongest links, and how one head fills its part of them.
class Filling {
 public:
  Filling(const PageGroup& group, const Plan& p, std::int64_t heads, bool sinks)
      : group_(group),
        plan_(p),
        key_("key", p.key, {p.linked, group.queries, p.links}),
        weight_("weight", DType::F32, {p.linked, group.queries, p.links}),
        effect_("effect", DType::F16, {p.linked, group.queries, p.links}),
        entropy_("entropy", DType::F16, {p.linked, group.queries}),
        special_("special", DType::F16, {p.linked, group.queries}),
        norm_("value_norm", DType::F16, {p.linked, group.keys}),
        mass_("mass", DType::F16, {heads, p.tiles_down, p.tiles_across}),
        peak_("peak", DType::F16, {heads, p.tiles_down, p.tiles_across}),
        sinks_(sinks) {}

  /// Head `h` of the group; `place` among those whose rows are kept, −1 for the others.
  void fill(const HeadRows& rows, std::int64_t h, std::int64_t place, const std::vector<bool>& special) {
    const auto keys = static_cast<std::size_t>(group_.keys);
    std::optional<RowEffects> effects;
    Trace sums;
    if (place >= 0) effects.emplace(rows), sums = rows.trace(std::vector<float>(special.begin(), special.end()));
    Tiles tiles(plan_);
    Greatest best(plan_.links);
    for (int begin = 0; begin < group_.queries; begin += rows.band()) {
      const Range band{begin, std::min(begin + rows.band(), group_.queries)};
      const std::vector<float> weights = rows.weights(band);  // [rows, keys]
      for (int q = band.begin; q < band.end; ++q) {
        const std::span row(weights.data() + static_cast<std::size_t>(q - begin) * keys, keys);
        best.clear();
        tiles.add(q, row, place < 0 ? nullptr : &best);
        if (place < 0) continue;
        const auto at = static_cast<std::size_t>(q);
        const double parked = sinks_ ? rows.sink(q) : 0;
        special_.put(place * group_.queries + q, parked + static_cast<double>(sums.along[at]));
        entropy_.put(place * group_.queries + q, static_cast<double>(sums.entropy[at]));
        add_links(*effects, place, q, row, best.keys());
      }
    }
    for (int t = 0; t < plan_.tiles_down * plan_.tiles_across; ++t) {
      const std::int64_t at = h * plan_.tiles_down * plan_.tiles_across + t;
      const int first = t / plan_.tiles_across * plan_.tile_queries;
      mass_.put(at, tiles.mass[static_cast<std::size_t>(t)] / std::min(plan_.tile_queries, group_.queries - first));
      peak_.put(at, static_cast<double>(tiles.peak[static_cast<std::size_t>(t)]));
    }
    if (place >= 0)
      for (int j = 0; j < group_.keys; ++j) norm_.put(place * group_.keys + j, effects->value_norm(j));
  }

  void take(std::vector<PageArray>& into) {
    for (Plane* plane : {&weight_, &key_, &effect_, &entropy_, &special_, &norm_, &mass_, &peak_})
      into.push_back(plane->take());
  }

 private:
  /// The keys of a row's greatest weights, heaviest first; of equals the first.
  class Greatest {
   public:
    explicit Greatest(int most) : most_(static_cast<std::size_t>(most)) {}
    void clear() { keys_.clear(), weights_.clear(); }
    /// Whether a weight would be kept: asked for the greatest of many first.
    bool wants(float a) const { return keys_.size() < most_ || weights_.back() < a; }
    void offer(int key, float a) {
      if (!wants(a)) return;
      if (keys_.size() == most_) keys_.pop_back(), weights_.pop_back();
      const auto at = std::ranges::upper_bound(weights_, a, std::greater<>()) - weights_.begin();
      weights_.insert(weights_.begin() + at, a), keys_.insert(keys_.begin() + at, key);
    }
    const std::vector<int>& keys() const { return keys_; }

   private:
    std::size_t most_;
    std::vector<int> keys_;
    std::vector<float> weights_;  // descending
  };

  struct Tiles {
    explicit Tiles(const Plan& p)
        : plan(p), mass(static_cast<std::size_t>(p.tiles_down * p.tiles_across)), peak(mass.size()) {}
    void add(int query, std::span<const float> row, Greatest* best) {
      const auto width = static_cast<std::size_t>(plan.tile_keys);
      auto at = static_cast<std::size_t>(query / plan.tile_queries * plan.tiles_across);
      for (std::size_t begin = 0; begin < row.size(); begin += width, ++at) {
        const auto tile = row.subspan(begin, std::min(width, row.size() - begin));
        constexpr std::size_t kTogether = 8;  // sums side by side
        double sum[kTogether] = {};
        float most[kTogether] = {};
        const auto take = [&](std::size_t i, std::size_t k) {
          sum[k] += static_cast<double>(tile[i]);
          most[k] = std::max(most[k], tile[i]);
        };
        std::size_t i = 0;
        for (; i + kTogether <= tile.size(); i += kTogether)
          for (std::size_t k = 0; k < kTogether; ++k) take(i + k, k);
        for (; i < tile.size(); ++i) take(i, 0);
        mass[at] += std::accumulate(std::begin(sum), std::end(sum), 0.0);
        const float high = *std::ranges::max_element(most);
        peak[at] = std::max(peak[at], high);
        if (!best || !best->wants(high)) continue;
        for (i = 0; i < tile.size(); ++i) best->offer(static_cast<int>(begin + i), tile[i]);
      }
    }
    const Plan& plan;
    std::vector<double> mass;
    std::vector<float> peak;
  };

  void add_links(RowEffects& effects, std::int64_t place, int query, std::span<const float> row,
                 const std::vector<int>& order) {
    effects.enter(query, row);
    for (int l = 0; l < plan_.links; ++l) {
      const std::int64_t at = (place * group_.queries + query) * plan_.links + l;
      const int key = order[static_cast<std::size_t>(l)];
      const float a = row[static_cast<std::size_t>(key)];
      if (plan_.key == DType::U16)
        key_.put_bits(at, a > 0 ? static_cast<std::uint16_t>(key) : std::numeric_limits<std::uint16_t>::max());
      else
        key_.put_bits(at, a > 0 ? static_cast<std::uint32_t>(key) : std::numeric_limits<std::uint32_t>::max());
      weight_.put(at, static_cast<double>(a));
      effect_.put(at, effects.effect(key));
    }
  }

  const PageGroup& group_;
  const Plan& plan_;
  Plane key_, weight_, effect_, entropy_, special_, norm_, mass_, peak_;
  bool sinks_;
};

}  // namespace

void add_strongest(PageGroup& group, const std::vector<HeadRows>& heads, const PageMasks& masks,
                   std::span<const int> rank, const std::vector<bool>& special, std::int64_t room) {
  const Plan p = plan_of(group, std::ssize(heads), std::ssize(masks.distinct), room);
  group.top = p.links, group.tile_queries = p.tile_queries, group.tile_keys = p.tile_keys;
  group.linked.assign(rank.begin(), rank.begin() + p.linked);
  std::ranges::sort(group.linked);
  Filling filling(group, p, std::ssize(heads), heads.front().has_sinks());
  parallel_for(std::ssize(heads), [&](std::int64_t h) {
    const auto found = std::ranges::lower_bound(group.linked, static_cast<int>(h));
    const bool kept = found != group.linked.end() && *found == h;
    filling.fill(heads[static_cast<std::size_t>(h)], h, kept ? found - group.linked.begin() : -1, special);
  });
  filling.take(group.arrays);
  if (masks.distinct.empty()) return;
  group.arrays.push_back(visible_counts(masks, group.queries));
  group.arrays.push_back(tile_cover(masks, group, p));
}

}  // namespace fovea::look
