// Weight against effect, over every pair of positions or every edge: survey().
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include <fovea/threads.hpp>

#include "look/choice.hpp"
#include "look/measure.hpp"
#include "look/rows.hpp"

namespace fovea::look {
namespace {

/// Ranks from 1; equals share the mean of theirs.
std::vector<double> ranks(const std::vector<double>& x) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(x[i], i); });
  std::vector<double> rank(x.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    while (end < order.size() && x[order[end]] == x[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) rank[order[i]] = static_cast<double>(begin + end + 1) / 2;
    begin = end;
  }
  return rank;
}

/// Pearson's r of two lists of ranks: Spearman's ρ, ties included.
double rank_correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const auto unknown = [](double z) { return std::isnan(z); };
  if (std::ranges::any_of(x, unknown) || std::ranges::any_of(y, unknown))
    return std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> a = ranks(x), b = ranks(y);
  const double mean = static_cast<double>(a.size() + 1) / 2;  // of any ranks
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  return ab / std::sqrt(aa * bb);
}

using Unit = SurveyQuery::Unit;

/// Each word, or what the query names; a row's only key cannot go, so a row that has but one is left out.
std::vector<int> queries_of(const Original& run, std::string_view text, const SurveyQuery& query) {
  std::vector<int> queries = query.token.empty() ? words_of(run.queries()) : run.find_query(text, query.token);
  if (query.unit == Unit::Heads) return queries;
  const HeadRows rows(*run.records.front(), kOnlySequence, 0);
  std::erase_if(queries, [&](int q) { return rows.visible(q) < 2; });
  return queries;
}

/// The keys that each of these queries sees; what a mask hides, it hides from all heads.
std::vector<std::vector<int>> keys_of(const Original& run, const std::vector<int>& queries) {
  const HeadRows rows(*run.records.front(), kOnlySequence, 0);
  std::vector<std::vector<int>> keys;
  for (const int q : queries) {
    std::vector<int>& seen = keys.emplace_back();
    rows.for_visible(q, [&](int first, int last) {
      for (int k = first; k < last; ++k) seen.push_back(k);
    });
  }
  return keys;
}

/// What is surveyed, item by item.
struct Ground {
  Unit unit;
  std::vector<int> queries;
  std::vector<std::vector<int>> seen;  // [queries]: the keys of each
  std::vector<HeadAt> heads;
  std::size_t tokens;                      // of one rerun
  std::shared_ptr<const HeadMeans> means;  // that silenced heads put out; null: zero

  std::size_t size() const {
    std::size_t pairs = unit == Unit::Heads ? 1 : 0;
    if (unit != Unit::Heads)
      for (const std::vector<int>& k : seen) pairs += k.size();
    return unit == Unit::Pairs ? pairs : pairs * heads.size();
  }
  std::vector<Survey::Item> items() const {
    std::vector<Survey::Item> all;
    const auto add = [&](int q, int k) {
      for (const HeadAt& h : unit == Unit::Pairs ? std::vector{HeadAt{-1, -1}} : heads)
        all.push_back({q, k, h.layer, h.head});
    };
    if (unit == Unit::Heads) add(-1, -1);
    for (std::size_t i = 0; unit != Unit::Heads && i < queries.size(); ++i)
      for (const int k : seen[i]) add(queries[i], k);
    return all;
  }
  Variant variant(const Survey::Item& item) const {
    if (unit == Unit::Heads) return {{}, queries, {{item.layer, item.head}}, means};
    if (unit == Unit::Edges) return {{{item.layer, item.head, item.query, item.key}}, {item.query}};
    Variant v{{}, {item.query}};
    for (const HeadAt& h : heads) v.removed.push_back({h.layer, h.head, item.query, item.key});
    return v;
  }
};

void refuse_hours(const Ground& ground) {
  constexpr std::size_t kMost = std::size_t{1} << 23;  // tokens to run: minutes for a small model
  const std::size_t items = ground.size(), tokens = ground.tokens;
  if (items > kMost / tokens)
    throw Error(
        fmt::format("that would be {} reruns of {} tokens, {} tokens in all, and {} are the most; choose one "
                    "query, or fewer layers and heads",
                    items, tokens, items * tokens, kMost));
}

std::vector<double> column(const std::vector<Survey::Item>& items, double Survey::Item::*of) {
  std::vector<double> x;
  for (const Survey::Item& item : items) x.push_back(std::abs(item.*of));
  return x;
}

double largest(const std::vector<double>& x) { return x.empty() ? 0 : *std::ranges::max_element(x); }

/// Indices where x is at least this share of its largest and y below half of its own, those first where y is least.
std::vector<std::size_t> large_in(const std::vector<double>& x, double share, const std::vector<double>& y) {
  const double most = largest(x), opposite = largest(y);
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i] > 0 && x[i] >= share * most && 2 * y[i] < opposite) found.push_back(i);
  std::ranges::stable_sort(found, {}, [&](std::size_t i) { return y[i]; });
  return found;
}

}  // namespace

Survey survey(const Original& run, const Metric& metric, std::string_view text, const SurveyQuery& query) {
  const std::vector<int> queries = queries_of(run, text, query);
  Ground ground{query.unit, queries, keys_of(run, queries), {}, run.size(), nullptr};
  const std::vector<int> heads = chosen("head", query.heads, run.heads());
  for (const int layer : chosen("layer", query.layers, static_cast<int>(run.records.size())))
    for (const int head : heads_there(run, layer, heads)) ground.heads.push_back({layer, head});
  refuse_hours(ground);
  if (query.unit == Unit::Heads && query.mean) ground.means = means_over(run, query.over);
  Survey s;
  s.metric = metric.name();
  s.items = ground.items();
  std::vector<Variant> variants;
  for (const Survey::Item& item : s.items) variants.push_back(ground.variant(item));
  const std::vector<Answer> before = answers_before(run, metric, variants);
  const auto progress = [&](std::size_t done) {
    if (query.progress) query.progress(done, variants.size());
  };
  progress(0);
  const std::vector<Answer> after = rerun(run, metric, variants, progress);
  parallel_for(std::ssize(s.items), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    Effect e;
    describe(run, variants[at], e);
    s.items[at].weight = e.weight, s.items[at].local_effect = e.local_effect;
    s.items[at].gradient_effect = e.gradient_effect;
    s.items[at].effect = before[at].value - after[at].value;
  });
  std::ranges::stable_sort(s.items, std::greater<>{}, [](const Survey::Item& x) { return std::abs(x.effect); });

  const std::vector<double> weight = column(s.items, &Survey::Item::weight);
  const std::vector<double> effect = column(s.items, &Survey::Item::effect);
  const std::vector<double> local = column(s.items, &Survey::Item::local_effect);
  s.weight_correlation = rank_correlation(weight, effect);
  s.local_correlation = rank_correlation(local, effect);
  s.gradient_correlation = rank_correlation(column(s.items, &Survey::Item::gradient_effect), effect);
  const std::vector<double>& looked = query.unit == Unit::Heads ? local : weight;
  s.idle = large_in(looked, 0.5, effect), s.light = large_in(effect, 0.25, looked);
  return s;
}

}  // namespace fovea::look
