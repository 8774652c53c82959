// From a question in words to what is removed: cut_of().
#include <algorithm>
#include <iterator>
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
    if (!seen) rows.for_visible(query, [&, k = key](int first, int last) { seen = seen || (first <= k && k < last); });
    if (!seen)
      throw Error(
          fmt::format("{} never looks at {}: the step that writes a word reads only what was written before "
                      "it; cut what it can see",
                      named(run.queries(), query), named(run.keys(), key)));
  }
}

/// Where values are shared by a group of heads, they become zero for all of them or for none.
void refuse_split_groups(const Original& run, const std::vector<int>& heads) {
  const int group = run.group();
  for (const int head : heads)
    for (int other = head / group * group; other < (head / group + 1) * group; ++other)
      if (!std::ranges::binary_search(heads, other))
        throw Error(fmt::format("head {} shares its values with head {}; zero both or neither", head, other));
}

Variant without_heads(const Original& run, const MeasureQuery& query) {
  Variant cut;
  for (const HeadAt& h : query.ablate) {
    const std::vector<int> layer = chosen("layer", {h.layer}, static_cast<int>(run.records.size()));
    const int heads = static_cast<int>(run.records[static_cast<std::size_t>(h.layer)]->q.shape()[2]);
    if (h.head < 0 || h.head >= heads)
      throw Error(fmt::format("head {}: layer {} has heads 0 to {}; choose among them", h.head, h.layer, heads - 1));
    cut.silenced.push_back(h);
  }
  std::ranges::sort(cut.silenced);
  cut.silenced.erase(std::unique(cut.silenced.begin(), cut.silenced.end()), cut.silenced.end());
  cut.queries = words_of(run.queries());
  if (query.mean) cut.means = means_over(run, query.over);
  return cut;
}

}  // namespace

std::vector<int> heads_there(const Original& run, int layer, std::span<const int> heads) {
  const auto count = run.records[static_cast<std::size_t>(layer)]->q.shape()[2];
  std::vector<int> there;
  std::ranges::copy_if(heads, std::back_inserter(there), [&](int h) { return h < count; });
  return there;
}

std::vector<int> words_of(std::span<const Token> tokens) {
  std::vector<int> words;
  for (const Token& t : tokens)
    if (!t.special) words.push_back(t.index);
  return words.empty() ? all_below(static_cast<int>(tokens.size())) : words;
}

std::shared_ptr<const HeadMeans> means_over(const Original& run, const std::vector<std::string>& texts) {
  if (texts.empty()) return std::make_shared<const HeadMeans>(head_means(run.records));
  if (run.kind() != "encoder")
    throw Error(
        fmt::format("means over other texts are of the encoder's heads; those of \"{}\" are averaged over this "
                    "text: give no texts",
                    run.kind()));
  std::vector<models::Sequence> sequences;
  for (const std::string& text : texts)
    sequences.push_back(run.model.reader.read(text, {}, TooLong::Refuse, "a text to average over").sequence);
  models::Pass pass;
  pass.record_attention = true;
  const models::Result result = run.model.encoder->forward(sequences, pass);
  return std::make_shared<const HeadMeans>(head_means(records_of_kind(result.layers, run.records.front()->kind)));
}

Variant cut_of(const Original& run, std::string_view text, const MeasureQuery& query) {
  std::vector<Cut> cuts = query.cuts;
  if (!query.from.empty() || !query.to.empty()) cuts.insert(cuts.begin(), {query.from, query.to});
  if (int{cuts.empty()} + int{query.values.empty()} + int{query.ablate.empty()} != 2)
    throw Error("measure: say one of: which edges to cut (from, to), whose values to zero, which heads to ablate");
  if (!query.ablate.empty()) return without_heads(run, query);
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
    for (const int head : heads_there(run, layer, heads))
      for (const auto& [q, k] : edges) cut.removed.push_back({layer, head, q, k});
  if (cut.removed.empty()) throw Error("measure: the layers chosen have none of the heads chosen");
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

bool leaves_nothing(const Original& run, const Link& link) {
  return HeadRows(*run.records[static_cast<std::size_t>(link.layer)], kSequence, link.head).visible(link.query) < 2;
}

}  // namespace fovea::look
