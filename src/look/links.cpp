#include "look/links.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <numeric>
#include <tuple>

#include <fovea/threads.hpp>

#include "look/row_sums.hpp"

namespace fovea::look {
namespace {

struct Edge {
  float weight;
  int layer, head, query, key;  // layer: index into Field::layers
};

/// A total order, so that what is kept depends neither on the order of visits nor on threads.
bool stronger(const Edge& a, const Edge& b) {
  if (a.weight != b.weight) return a.weight > b.weight;
  return std::tie(a.layer, a.head, a.query, a.key) < std::tie(b.layer, b.head, b.query, b.key);
}

/// The `top` strongest of what is offered.
class Strongest {
 public:
  explicit Strongest(std::size_t top) : top_(top) {}
  void offer(const Edge& e) {
    if (kept_.size() == top_) {
      if (!stronger(e, kept_.front())) return;
      std::pop_heap(kept_.begin(), kept_.end(), stronger);
      kept_.back() = e;
    } else {
      kept_.push_back(e);
    }
    std::push_heap(kept_.begin(), kept_.end(), stronger);  // the weakest in front
  }
  std::vector<Edge> sorted() && {
    std::sort_heap(kept_.begin(), kept_.end(), stronger);
    return std::move(kept_);
  }

 private:
  std::size_t top_;
  std::vector<Edge> kept_;
};

Link link_of(const RowSums& row, const models::LayerRecord& record, int head, int query, int key) {
  Link link;
  link.kind = record.kind, link.layer = record.layer, link.head = head, link.query = query, link.key = key;
  link.weight = row.weight(key);
  if (link.weight == 0) return link;
  link.lift = link.weight * row.visible();
  std::vector<double> carried(static_cast<std::size_t>(row.width())), change(carried);  // [width]
  row.add_carried({&key, 1}, carried);
  link.norm_weighted = norm(carried);
  const bool rest = row.add_change({&key, 1}, change);
  link.local_effect = rest ? norm(change) : std::numeric_limits<double>::infinity();  // nothing is left to attend to
  return link;
}

/// Queries in runs of neighbours that fit a band: few calls into the kernel when all are asked for, one row when one
/// is.
std::vector<Range> bands_of(std::span<const int> queries, int band) {
  std::vector<Range> bands;
  for (const int q : queries) {
    if (!bands.empty() && bands.back().end == q && q - bands.back().begin < band)
      ++bands.back().end;
    else
      bands.push_back({q, q + 1});
  }
  return bands;
}

std::vector<Edge> strongest_of_head(const Field& field, int layer, int head, int sequence, std::size_t top) {
  const models::LayerRecord& record = *field.layers[static_cast<std::size_t>(layer)];
  if (head >= record.q.shape()[2]) return {};  // of a layer that some heads were pruned from
  const HeadRows rows(record, sequence, head);
  const auto keys = static_cast<std::size_t>(rows.keys());
  Strongest best(top);
  for (const Range band : bands_of(field.queries, rows.band())) {
    const std::vector<float> weights = rows.weights(band);  // [rows, keys]
    for (int query = band.begin; query < band.end; ++query) {
      const float* row = weights.data() + static_cast<std::size_t>(query - band.begin) * keys;
      for (std::size_t j = 0; j < keys; ++j)
        if (row[j] > 0 && (field.left_out.empty() || !field.left_out[j]))
          best.offer({row[j], layer, head, query, static_cast<int>(j)});
    }
  }
  return std::move(best).sorted();
}

/// Indices of the edges, those of one row side by side: a row is rebuilt once, however many of its edges were chosen.
std::vector<std::size_t> by_row(const std::vector<Edge>& edges) {
  std::vector<std::size_t> order(edges.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) {
    const Edge& e = edges[i];
    return std::tuple(e.layer, e.head, e.query, i);
  });
  return order;
}

std::vector<Range> runs_of_rows(const std::vector<Edge>& edges, const std::vector<std::size_t>& order) {
  const auto row = [&](int i) {
    const Edge& e = edges[order[static_cast<std::size_t>(i)]];
    return std::tuple(e.layer, e.head, e.query);
  };
  std::vector<Range> runs;
  for (int i = 0; i < static_cast<int>(order.size()); ++i) {
    if (i > 0 && row(i) == row(i - 1))
      ++runs.back().end;
    else
      runs.push_back({i, i + 1});
  }
  return runs;
}

}  // namespace

std::vector<Link> strongest_links(const Field& field, int sequence, int top) {
  const auto wanted = static_cast<std::size_t>(std::max(top, 0));
  const std::size_t heads = field.heads.size(), items = field.layers.size() * heads;
  if (wanted == 0 || items == 0) return {};
  Strongest best(wanted);  // of all heads; the order being total, it doesn't matter who comes first
  std::mutex merging;
  parallel_for(static_cast<std::int64_t>(items), [&](std::int64_t i) {
    const auto item = static_cast<std::size_t>(i);
    const auto found =
        strongest_of_head(field, static_cast<int>(item / heads), field.heads[item % heads], sequence, wanted);
    const std::scoped_lock lock(merging);
    for (const Edge& e : found) best.offer(e);
  });
  const std::vector<Edge> edges = std::move(best).sorted();

  std::vector<Link> links(edges.size());
  const std::vector<std::size_t> order = by_row(edges);
  const std::vector<Range> rows = runs_of_rows(edges, order);
  parallel_for(static_cast<std::int64_t>(rows.size()), [&](std::int64_t r) {
    const Range run = rows[static_cast<std::size_t>(r)];
    const Edge& first = edges[order[static_cast<std::size_t>(run.begin)]];
    const models::LayerRecord& record = *field.layers[static_cast<std::size_t>(first.layer)];
    const RowSums row(record, sequence, first.head, first.query);
    for (int i = run.begin; i < run.end; ++i) {
      const std::size_t at = order[static_cast<std::size_t>(i)];
      links[at] = link_of(row, record, first.head, first.query, edges[at].key);
    }
  });
  return links;
}

Link describe(const models::LayerRecord& record, int sequence, int head, int query, int key) {
  return link_of(RowSums(record, sequence, head, query), record, head, query, key);
}

}  // namespace fovea::look
