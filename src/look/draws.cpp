#include "look/draws.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "look/rows.hpp"

namespace fovea::look {
namespace {

constexpr int kAttempts = 30;  // at a whole draw, and at each place of it: where none fits soon, none is there

int heads_of(const models::LayerRecord& record) { return static_cast<int>(record.q.shape()[2]); }

/// Σ_i A_ij of every head, [heads, keys], a band of rows at a time.
std::vector<float> column_sums(const models::LayerRecord& record, int sequence) {
  std::vector<float> all;
  for (int head = 0; head < heads_of(record); ++head) {
    const HeadRows rows(record, sequence, head);
    const auto keys = static_cast<std::size_t>(rows.keys());
    std::vector<double> sums(keys);
    for (int begin = 0; begin < rows.queries(); begin += rows.band()) {
      const std::vector<float> band = rows.weights({begin, std::min(begin + rows.band(), rows.queries())});
      for (std::size_t i = 0; i < band.size(); ++i) sums[i % keys] += static_cast<double>(band[i]);
    }
    for (const double sum : sums) all.push_back(static_cast<float>(sum));
  }
  return all;
}

/// Weights [heads, keys] of each of these queries, in order: one band of every head.
std::vector<std::vector<float>> row_weights(const models::LayerRecord& record, int sequence, Range queries) {
  std::vector<std::vector<float>> all(static_cast<std::size_t>(queries.end - queries.begin));
  for (int head = 0; head < heads_of(record); ++head) {
    const HeadRows rows(record, sequence, head);
    const std::vector<float> band = rows.weights(queries);  // [queries, keys]
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto row = band.begin() + static_cast<std::ptrdiff_t>(i) * rows.keys();
      all[i].insert(all[i].end(), row, row + rows.keys());
    }
  }
  return all;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------- what is matched

Draws::Draws(const Setting& setting, const Variant& cut, std::uint64_t seed)
    : setting_(setting), cut_(cut), removed_(cut.removed.begin(), cut.removed.end()), random_(seed) {
  std::set<int> queries;
  for (const Removal& r : removed_) queries.insert(r.query);
  for (const int query : queries) add_place(query);
}

void Draws::add_place(int query) {
  Place place{query, {query}, {}};
  const auto is_read = [&](int q) { return std::ranges::find(setting_.read, q) != setting_.read.end(); };
  if (query != kEveryQuery && !is_read(query)) {
    const int queries = HeadRows(*setting_.records.front(), setting_.sequence, 0).queries();
    place.others.clear();
    const std::vector<bool>& special = setting_.special_queries.empty() ? setting_.special : setting_.special_queries;
    for (int q = 0; q < queries; ++q)
      if (special[static_cast<std::size_t>(q)] == special[static_cast<std::size_t>(query)] && !is_read(q))
        place.others.push_back(q);
  }
  std::set<int> layers;
  for (const Removal& r : removed_)
    if (r.query == query) layers.insert(r.layer);
  for (const int layer : layers) {
    Target target{layer, 0, 0, {}};
    set_target(target, query);
    if (target.weight > 0) place.targets.push_back(std::move(target));  // what has no weight has no equal
  }
  places_.push_back(std::move(place));
}

void Draws::set_target(Target& target, int query) {
  const std::vector<float>& a = weights(target.layer, query);
  const std::size_t keys = setting_.special.size();
  double travelled = 0;
  for (const Removal& r : removed_) {
    if (r.query != query || r.layer != target.layer) continue;
    const auto weight =
        static_cast<double>(a[static_cast<std::size_t>(r.head) * keys + static_cast<std::size_t>(r.key)]);
    target.weight += weight;
    travelled += weight * std::abs(query - r.key);
    if (std::ranges::find(target.keys, r.key) == target.keys.end()) target.keys.push_back(r.key);
  }
  if (target.weight > 0) target.distance = travelled / target.weight;
}

const std::vector<float>& Draws::weights(int layer, int query) {
  constexpr std::size_t kMost = std::size_t{1} << 22;  // floats kept, 16 MB: all of a sentence, a few rows of a book
  const auto found = weights_.find({layer, query});
  if (found != weights_.end()) return found->second;
  const models::LayerRecord& record = *setting_.records[static_cast<std::size_t>(layer)];
  const auto keep = [&](int of, std::vector<float> a) {
    if ((weights_.size() + 1) * a.size() > kMost) weights_.clear();
    weights_.insert_or_assign({layer, of}, std::move(a));
  };
  if (query == kEveryQuery) {
    keep(query, column_sums(record, setting_.sequence));
  } else {
    const HeadRows rows(record, setting_.sequence, 0);
    constexpr int kShort = 64;  // queries of a text whose rows are all asked for sooner or later
    const Range band = rows.queries() <= kShort ? Range{0, rows.queries()} : Range{query, query + 1};
    std::vector<std::vector<float>> some = row_weights(record, setting_.sequence, band);
    for (std::size_t i = 0; i < some.size(); ++i) {
      const int of = band.begin + static_cast<int>(i);
      if (of != query) keep(of, std::move(some[i]));
    }
    keep(query, std::move(some[static_cast<std::size_t>(query - band.begin)]));  // last: nothing clears it any more
  }
  return weights_.at({layer, query});
}

// ---------------------------------------------------------------------------------------------------------- one draw

int Draws::rank(const Target& target, int query, int key) const {
  constexpr int kOtherSort = 1 << 24;
  const auto special = [&](int k) { return setting_.special[static_cast<std::size_t>(k)]; };
  const bool same_sort = std::ranges::any_of(target.keys, [&](int k) { return special(k) == special(key); });
  int gap = 0;
  if (query != kEveryQuery) {  // what is about as far away is as good as what is just as far
    const double apart = std::abs(std::abs(query - key) - target.distance);
    gap = static_cast<int>(std::lround(std::max(0.0, apart - std::max(1.0, target.distance / 4))));
  }
  return gap + (same_sort ? 0 : kOtherSort);
}

Draws::Candidates& Draws::candidates(const Target& target, int query) {
  const auto found = candidates_.find({&target, query});
  if (found != candidates_.end()) return found->second;
  const std::vector<float>& a = weights(target.layer, query);
  const std::size_t keys = setting_.special.size();
  std::vector<int> ranks(keys);
  for (std::size_t key = 0; key < keys; ++key) ranks[key] = rank(target, query, static_cast<int>(key));
  std::vector<int> groups = ranks;  // ranks that there are, ascending
  std::ranges::sort(groups);
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  const bool cut_here = std::ranges::any_of(places_, [&](const Place& p) { return p.query == query; });
  Candidates c;
  c.all.reserve(a.size());
  c.group_ends.resize(groups.size());
  c.visible.assign(a.size() / std::max<std::size_t>(keys, 1), -1);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const int head = static_cast<int>(i / keys), key = static_cast<int>(i % keys);
    if (!(a[i] > 0) || (cut_here && removed_.contains({target.layer, head, query, key}))) continue;
    const auto group = static_cast<std::size_t>(std::ranges::lower_bound(groups, ranks[i % keys]) - groups.begin());
    c.all.push_back({head, key, static_cast<double>(a[i]), group});
    c.weight += c.all.back().weight;
    ++c.group_ends[group];
  }
  for (std::size_t g = 1; g < c.group_ends.size(); ++g) c.group_ends[g] += c.group_ends[g - 1];
  constexpr std::size_t kMost = std::size_t{1} << 20;  // candidates kept, 32 MB
  if ((candidates_.size() + 1) * a.size() > kMost) candidates_.clear();
  return candidates_[{&target, query}] = std::move(c);
}

std::vector<std::size_t> Draws::shuffled(const Candidates& candidates) {
  const std::size_t n = candidates.all.size();
  std::vector<std::size_t> order(n), grouped(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[static_cast<std::size_t>(below(i))]);
  std::vector<std::size_t> ends = candidates.group_ends;
  for (std::size_t i = n; i-- > 0;) grouped[--ends[candidates.all[order[i]].group]] = order[i];
  return grouped;
}

/// Takes what still fits, in order, until the weight is equal.
bool Draws::fill(const Target& target, int query, std::vector<Removal>& removed) {
  const models::LayerRecord& record = *setting_.records[static_cast<std::size_t>(target.layer)];
  const double slack = weight_tolerance(target.weight);
  Candidates& all = candidates(target, query);
  constexpr double kRounding = 1e-9;
  if (all.weight + kRounding < target.weight - slack) return false;  // in no order enough
  double weight = 0, travelled = 0;
  std::vector<int> left(all.visible.size(), -1);  // [heads] keys that the row still sees
  for (const std::size_t i : shuffled(all)) {
    const Candidate& c = all.all[i];
    if (weight > 0 && std::abs(weight - target.weight) <= slack) break;
    if (weight + c.weight > target.weight + slack) continue;
    if (query != kEveryQuery) {
      const auto head = static_cast<std::size_t>(c.head);
      if (all.visible[head] < 0) all.visible[head] = HeadRows(record, setting_.sequence, c.head).visible(query);
      if (left[head] < 0) left[head] = all.visible[head];
      if (left[head] == 1) continue;
      --left[head];
    }
    weight += c.weight;
    travelled += c.weight * std::abs(query - c.key);
    removed.push_back({target.layer, c.head, query, c.key});
  }
  if (weight == 0 || std::abs(weight - target.weight) > slack) return false;
  return query == kEveryQuery || std::abs(travelled / weight - target.distance) <= distance_tolerance(target.distance);
}

bool Draws::fill_place(const Place& place, std::vector<int>& taken, std::vector<Removal>& removed) {
  for (int attempt = 0; attempt < kAttempts && !place.others.empty(); ++attempt) {
    const int query = place.others[static_cast<std::size_t>(below(place.others.size()))];
    if (std::ranges::find(taken, query) != taken.end()) continue;
    std::vector<Removal> here;
    if (!std::ranges::all_of(place.targets, [&](const Target& t) { return fill(t, query, here); })) continue;
    removed.insert(removed.end(), here.begin(), here.end());
    taken.push_back(query);
    return true;
  }
  return false;
}

std::optional<Variant> Draws::next() {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Variant draw;
    const bool whole =
        std::ranges::all_of(places_, [&](const Place& p) { return fill_place(p, draw.queries, draw.removed); });
    std::ranges::sort(draw.removed);
    if (!whole || draw.removed.empty() || !seen_.insert(draw.removed).second) continue;
    if (draw.queries == std::vector{kEveryQuery}) draw.queries = cut_.queries;
    return draw;
  }
  return std::nullopt;
}

std::vector<Variant> head_draws(std::span<const models::LayerRecord* const> records, const Variant& cut, int draws,
                                std::uint64_t seed) {
  std::vector<HeadAt> others;
  for (const models::LayerRecord* record : records)
    for (int head = 0; head < heads_of(*record); ++head)
      if (std::ranges::find(cut.silenced, HeadAt{record->layer, head}) == cut.silenced.end())
        others.push_back({record->layer, head});
  std::vector<Variant> found;
  if (others.size() < cut.silenced.size()) return found;
  std::mt19937_64 random(seed);
  std::set<std::vector<HeadAt>> seen;
  const int most = 64 * draws;  // tries: enough to meet nearly all sets where there are fewer than asked for
  for (int i = 0; i < most && std::ssize(found) < draws; ++i) {
    for (std::size_t k = 0; k < cut.silenced.size(); ++k)
      std::swap(others[k], others[k + random() % (others.size() - k)]);
    std::vector<HeadAt> set(others.begin(), others.begin() + std::ssize(cut.silenced));
    std::ranges::sort(set);
    if (!seen.insert(set).second) continue;
    Variant draw = cut;
    draw.silenced = std::move(set);
    found.push_back(std::move(draw));
  }
  return found;
}

}  // namespace fovea::look
