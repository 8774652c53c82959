// From a question in words to what is removed: cut_of().
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "io/quote.hpp"
#include "look/choice.hpp"
#include "look/measure.hpp"
#include "look/rows.hpp"

namespace fovea::look {
namespace {

constexpr int kSequence = 0;  // a run is one text

std::string named(std::span<const Token> tokens, int position) {
  return fmt::format("token {} ({})", position, io::in_quotes(tokens[static_cast<std::size_t>(position)].text));
}

/// A row without a key has no softmax: it is refused, not given as zero.
void refuse_empty_rows(const Original& run, const Variant& cut) {
  std::map<std::tuple<int, int, int>, int> removed;  // keys, by layer, head and query
  for (const Removal& r : cut.removed)
    if (r.query != kEveryQuery) ++removed[{r.layer, r.head, r.query}];
  for (const auto& [row, keys] : removed) {
    const auto [layer, head, query] = row;
    const int visible = HeadRows(*run.records[static_cast<std::size_t>(layer)], kSequence, head).visible(query);
    if (keys < visible) continue;
    throw Error(
        fmt::format("{} would have nothing left to look at in layer {} head {}: all {} keys that it sees are "
                    "cut; leave it at least one",
                    named(run.queries(), query), layer, head, visible));
  }
}

/// An edge that the model's own mask hides cannot be cut. What it hides, it hides from all heads.
void refuse_hidden_edges(const Original& run, const std::set<std::pair<int, int>>& edges) {
  const HeadRows rows(*run.records.front(), kSequence, 0);
  for (const auto& [query, key] : edges) {
    bool seen = query == kEveryQuery;
    if (!seen) rows.for_visible(query, [&](int first, int last) { seen = seen || (first <= key && key < last); });
    if (!seen)
      throw Error(
          fmt::format("{} never looks at {}: the step that writes a word reads only what was written before "
                      "it; cut what it can see",
                      named(run.queries(), query), named(run.keys(), key)));
  }
}

/// Where values are shared by a group of heads, they become zero for all of them or for none.
void refuse_split_groups(const Original& run, const std::vector<int>& heads) {
  const int group = run.heads() / run.kv_heads();
  for (const int head : heads)
    for (int other = head / group * group; other < (head / group + 1) * group; ++other)
      if (!std::ranges::binary_search(heads, other))
        throw Error(fmt::format("head {} shares its values with head {}; zero both or neither", head, other));
}

}  // namespace

Variant cut_of(const Original& run, std::string_view text, const MeasureQuery& query) {
  std::vector<Cut> cuts = query.cuts;
  if (!query.from.empty() || !query.to.empty()) cuts.insert(cuts.begin(), {query.from, query.to});
  if (cuts.empty() == query.values.empty())
    throw Error("measure: say either which edges to cut (from, to) or whose values to zero");
  const std::vector<int> layers = chosen("layer", query.layers, static_cast<int>(run.records.size()));
  const std::vector<int> heads = chosen("head", query.heads, run.heads());

  std::set<std::pair<int, int>> edges;  // query, key
  for (const auto& [from, to] : cuts) {
    const std::vector<int> queries = run.find_query(text, from), keys = run.find_key(text, to);
    for (const int q : queries)
      for (const int k : keys) edges.insert({q, k});
  }
  if (!query.values.empty()) {
    refuse_split_groups(run, heads);
    for (const int k : run.find_key(text, query.values)) edges.insert({kEveryQuery, k});
  }
  refuse_hidden_edges(run, edges);
  Variant cut;
  for (const int layer : layers)
    for (const int head : heads)
      for (const auto& [q, k] : edges) cut.removed.push_back({layer, head, q, k});
  if (!query.values.empty()) cut.queries = all_below(static_cast<int>(run.queries().size()));
  for (const auto& [q, k] : edges)
    if (q != kEveryQuery && (cut.queries.empty() || cut.queries.back() != q)) cut.queries.push_back(q);
  refuse_empty_rows(run, cut);
  return cut;
}

Variant cut_of(const Original& run, const Link& link) {
  Variant cut{{{link.layer, link.head, link.query, link.key}}, {link.query}};
  refuse_empty_rows(run, cut);
  return cut;
}

}  // namespace fovea::look
