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
#include "look/words.hpp"

namespace fovea::look {
namespace {

constexpr int kSequence = 0;  // a run is one text

std::string named(const Original& run, int position) {
  return fmt::format("token {} ({})", position, io::in_quotes(run.tokens[static_cast<std::size_t>(position)].text));
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
                    named(run, query), layer, head, visible));
  }
}

/// Where values are shared by a group of heads, they become zero for all of them or for none.
void refuse_split_groups(const models::Summary& model, const std::vector<int>& heads) {
  const int group = model.heads / model.kv_heads;
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
  const models::Summary& model = run.model.encoder->summary();
  const std::vector<int> layers = chosen("layer", query.layers, static_cast<int>(run.records.size()));
  const std::vector<int> heads = chosen("head", query.heads, model.heads);
  const auto find = [&](const std::string& selector) { return find_tokens(text, run.tokens, selector); };

  std::set<std::pair<int, int>> edges;  // query, key
  for (const auto& [from, to] : cuts) {
    const std::vector<int> queries = find(from), keys = find(to);
    for (const int q : queries)
      for (const int k : keys) edges.insert({q, k});
  }
  if (!query.values.empty()) {
    refuse_split_groups(model, heads);
    for (const int k : find(query.values)) edges.insert({kEveryQuery, k});
  }
  Variant cut;
  for (const int layer : layers)
    for (const int head : heads)
      for (const auto& [q, k] : edges) cut.removed.push_back({layer, head, q, k});
  if (!query.values.empty()) cut.queries = all_below(static_cast<int>(run.tokens.size()));
  for (const auto& [q, k] : edges)
    if (q != kEveryQuery && (cut.queries.empty() || cut.queries.back() != q)) cut.queries.push_back(q);
  refuse_empty_rows(run, cut);
  return cut;
}

Variant cut_of(const Link& link) { return {{{link.layer, link.head, link.query, link.key}}, {link.query}}; }

bool leaves_nothing(const Original& run, const Link& link) {
  return HeadRows(*run.records[static_cast<std::size_t>(link.layer)], kSequence, link.head).visible(link.query) < 2;
}

}  // namespace fovea::look
