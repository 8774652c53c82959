// Few edges that turn a choice around: a greedy search over pairs of positions, each step one batch of reruns.
#include <algorithm>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "look/choice.hpp"
#include "look/measure.hpp"
#include "look/rows.hpp"

namespace fovea::look {
namespace {

struct Pair {
  int query, key;
  auto operator<=>(const Pair&) const = default;
};

/// Pairs of positions in the chosen layers and heads, and sets of them as something to be removed.
class PairSets {
 public:
  PairSets(const Original& run, const MeasureQuery& query) : run_(run) {
    const std::vector<int> heads = chosen("head", query.heads, run.heads());
    for (const int layer : chosen("layer", query.layers, static_cast<int>(run.records.size())))
      for (const int head : heads_there(run, layer, heads)) where_.push_back({layer, head});
    const HeadRows rows(*run.records.front(), kOnlySequence, 0);  // what a mask hides, it hides from all heads
    for (const int q : words_of(run.queries())) {
      visible_[q] = rows.visible(q);
      rows.for_visible(q, [&](int first, int last) {
        for (int k = first; k < last; ++k) pairs_.push_back({q, k});
      });
    }
  }
  const std::vector<Pair>& all() const { return pairs_; }

  /// Whether every query keeps a key.
  bool possible(const std::vector<Pair>& set) const {
    std::map<int, int> cut;
    for (const Pair& p : set) ++cut[p.query];
    return std::ranges::all_of(cut, [&](const auto& c) { return c.second < visible_.at(c.first); });
  }
  Variant without(const std::vector<Pair>& set) const {
    Variant v;
    for (const HeadAt& h : where_)
      for (const Pair& p : set) v.removed.push_back({h.layer, h.head, p.query, p.key});
    for (const Pair& p : set)
      if (std::ranges::find(v.queries, p.query) == v.queries.end()) v.queries.push_back(p.query);
    std::ranges::sort(v.queries);
    return v;
  }
  /// What the metric says without each of these sets; infinity where that is not possible.
  std::vector<double> ask(const Metric& metric, const std::vector<std::vector<Pair>>& sets) const {
    std::vector<double> values(sets.size(), std::numeric_limits<double>::infinity());
    std::vector<Variant> variants;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < sets.size(); ++i)
      if (possible(sets[i])) variants.push_back(without(sets[i])), places.push_back(i);
    const std::vector<Answer> answers = rerun(run_, metric, variants);
    for (std::size_t i = 0; i < places.size(); ++i) values[places[i]] = answers[i].value;
    return values;
  }

 private:
  const Original& run_;
  std::vector<HeadAt> where_;
  std::vector<Pair> pairs_;
  std::map<int, int> visible_;  // by query
};

std::size_t least_of(const std::vector<double>& values) {
  return static_cast<std::size_t>(std::ranges::min_element(values) - values.begin());
}

/// Each of the set's subsets that lack one pair.
std::vector<std::vector<Pair>> with_one_less(const std::vector<Pair>& set) {
  std::vector<std::vector<Pair>> all;
  for (std::size_t i = 0; i < set.size(); ++i) {
    all.push_back(set);
    all.back().erase(all.back().begin() + static_cast<std::ptrdiff_t>(i));
  }
  return all;
}

void refuse_hours_of_search(const Original& run, std::size_t pairs, int most) {
  constexpr std::size_t kMost = std::size_t{1} << 23;  // tokens to run, as of a survey
  const std::size_t reruns = pairs * static_cast<std::size_t>(most);
  if (reruns > kMost / run.size())
    throw Error(
        fmt::format("the search would be up to {} reruns of {} tokens, and {} tokens are the most; take a "
                    "shorter text",
                    reruns, run.size(), kMost));
}

}  // namespace

Flip flip(const Original& run, const Metric& metric, const MeasureQuery& query, int most) {
  const PairSets sets(run, query);
  refuse_hours_of_search(run, sets.all().size(), most);
  const Variant nothing{{}, {0}};
  if (const double before = answers_before(run, metric, {&nothing, 1}).front().value; !(before > 0))
    throw Error(fmt::format(
        "the log-odds are {:.2f} as it is: there is nothing to turn around; swap target and against", before));
  Flip found;
  std::vector<Pair> cut;
  while (static_cast<int>(cut.size()) < most && !found.flipped) {
    std::vector<std::vector<Pair>> tries;
    for (const Pair& p : sets.all()) {
      tries.push_back(cut);
      if (std::ranges::find(cut, p) == cut.end()) tries.back().push_back(p);
    }
    const std::vector<double> after = sets.ask(metric, tries);
    const std::size_t best = least_of(after);
    if (tries[best].size() == cut.size()) break;  // nothing helps any further
    cut = tries[best];
    found.search.push_back({cut.back().query, cut.back().key, after[best]});
    found.flipped = after[best] < 0;
  }
  while (found.flipped && cut.size() > 1) {
    const std::vector<std::vector<Pair>> fewer = with_one_less(cut);
    const std::vector<double> after = sets.ask(metric, fewer);
    const std::size_t best = least_of(after);
    if (!(after[best] < 0)) break;
    cut = fewer[best];
  }
  for (const Pair& p : cut) found.cuts.push_back({std::to_string(p.query), std::to_string(p.key)});
  const Variant whole = sets.without(cut);
  found.effect = measure(run, metric, {&whole, 1}, query.draws, query.seed).front();
  return found;
}

}  // namespace fovea::look
