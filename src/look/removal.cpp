#include "look/removal.hpp"

#include <algorithm>
#include <limits>

#include "models/repeat.hpp"

namespace fovea::look {

int lowest_layer(const Variant& variant) {
  int lowest = std::numeric_limits<int>::max();
  for (const Removal& r : variant.removed) lowest = std::min(lowest, r.layer);
  for (const HeadAt& h : variant.silenced) lowest = std::min(lowest, h.layer);
  return lowest;
}

// ---------------------------------------------------------------------------------------------------------------- mask

EdgeMask::EdgeMask(std::vector<Edge> cut, int batches, int heads)
    : heads_(heads),
      cut_(std::move(cut)),
      begin_(static_cast<std::size_t>(batches) * static_cast<std::size_t>(heads) + 1) {
  std::ranges::sort(cut_);
  for (const Edge& e : cut_)
    ++begin_[static_cast<std::size_t>(e.batch) * static_cast<std::size_t>(heads) + static_cast<std::size_t>(e.head) +
             1];
  for (std::size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
}

std::span<const EdgeMask::Edge> EdgeMask::edges_of(int batch, int head) const {
  const auto at = static_cast<std::size_t>(batch) * static_cast<std::size_t>(heads_) + static_cast<std::size_t>(head);
  return std::span(cut_).subspan(begin_[at], begin_[at + 1] - begin_[at]);
}

bool EdgeMask::operator()(const Site& s) const {
  return !std::ranges::binary_search(edges_of(s.batch, s.head), Edge{s.batch, s.head, s.query, s.key});
}

Cover EdgeMask::cover(const Tile& t) const {
  const std::span edges = edges_of(t.batch, t.head);
  const auto first = std::ranges::lower_bound(edges, Edge{t.batch, t.head, t.query.begin, 0});
  for (auto e = first; e != edges.end() && e->query < t.query.end; ++e)
    if (t.key.begin <= e->key && e->key < t.key.end) return Cover::Partial;
  return Cover::Full;
}

// ---------------------------------------------------------------------------------------------------------------- pass

namespace {

AnyMask mask_of(std::span<const Variant* const> variants, int layer, int heads) {
  std::vector<EdgeMask::Edge> cut;
  for (std::size_t b = 0; b < variants.size(); ++b)
    for (const Removal& r : variants[b]->removed)
      if (r.layer == layer && r.query != kEveryQuery) cut.push_back({static_cast<int>(b), r.head, r.query, r.key});
  return cut.empty() ? AnyMask() : AnyMask(EdgeMask(std::move(cut), static_cast<int>(variants.size()), heads));
}

/// v [1, variants · keys, kv_heads, value_dim]
void zero_values(std::span<const Variant* const> variants, int layer, const Extent& of, Tensor& v) {
  const int kv_heads = static_cast<int>(v.shape()[2]);
  const std::int64_t dim = v.shape()[3];
  for (std::size_t b = 0; b < variants.size(); ++b)
    for (const Removal& r : variants[b]->removed) {
      if (r.layer != layer || r.query != kEveryQuery || r.key >= of.keys) continue;
      const std::int64_t row = static_cast<std::int64_t>(b) * of.keys + r.key;
      std::fill_n(v.data<float>() + (row * kv_heads + r.head / of.group) * dim, dim, 0.0f);
    }
}

std::vector<Silence> silences(std::span<const Variant* const> variants, int layer, int queries) {
  std::vector<Silence> heads;
  for (int b = 0; b < static_cast<int>(variants.size()); ++b) {
    const Variant& v = *variants[static_cast<std::size_t>(b)];
    for (const HeadAt& h : v.silenced)
      if (h.layer == layer)
        heads.push_back({{b * queries, (b + 1) * queries}, h.head, v.means ? v.means->at(h).data() : nullptr});
  }
  return heads;
}

}  // namespace

models::Pass pass_without(std::span<const Variant* const> variants, const Extent& of) {
  models::Pass pass;
  pass.mask = [=](int layer) { return mask_of(variants, layer, of.heads); };
  const auto zeroes = [](const Removal& r) { return r.query == kEveryQuery; };
  if (std::ranges::any_of(variants, [&](const Variant* v) { return std::ranges::any_of(v->removed, zeroes); }))
    pass.values = [=](int layer, Tensor& v) { zero_values(variants, layer, of, v); };
  if (std::ranges::any_of(variants, [](const Variant* v) { return !v->silenced.empty(); }))
    pass.heads = [=](int layer, const Tensor& out) { return silenced(out, silences(variants, layer, of.queries)); };
  return pass;
}

models::Repeat repeat_of(const models::Result& original, std::span<const models::LayerRecord> layers,
                         const std::string& kind, const Extent& of, std::span<const Variant* const> variants,
                         std::span<const Range> read) {
  const bool causal = kind == "decoder";
  const auto touched = [=](int layer, std::size_t copy) {
    Range all;
    for (const Removal& r : variants[copy]->removed) {
      if (r.layer != layer) continue;
      Range here{r.query, r.query + 1};
      if (r.query == kEveryQuery) here = {causal ? r.key : 0, of.queries};
      all = models::hull(all, here);
    }
    return all;
  };
  return {original.hidden_states, layers, kind, touched, read};
}

}  // namespace fovea::look
