#include "look/links.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <numeric>
#include <tuple>

#include <fovea/threads.hpp>

#include "look/row_sums.hpp"
#include "look/rows.hpp"

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
  /// Whether an edge of this weight might be kept.
  bool wants(double weight) const { return kept_.size() < top_ || weight >= static_cast<double>(kept_.front().weight); }
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

/// A head that competes.
struct Competitor {
  int layer;  // index into Field::layers
  int head;
  HeadRows rows;
};

/// A row that may hold strong edges: none of its weights exceeds the ceiling.
struct Candidate {
  double ceiling;
  int head;  // index of a Competitor
  int query;
};
bool lower(const Candidate& a, const Candidate& b) { return a.ceiling < b.ceiling; }

std::vector<Competitor> competitors_of(const Field& field, int sequence) {
  std::vector<Competitor> all;
  for (int layer = 0; layer < static_cast<int>(field.layers.size()); ++layer)
    for (const int head : field.heads) {
      const models::LayerRecord& record = *field.layers[static_cast<std::size_t>(layer)];
      if (head < record.q.shape()[2])  // else a layer that some heads were pruned from
        all.push_back({layer, head, HeadRows(record, sequence, head)});
    }
  return all;
}

/// A heap of all rows, the highest ceiling in front.
std::vector<Candidate> candidates_of(const Field& field, const std::vector<Competitor>& heads) {
  const std::size_t rows = field.queries.size();
  std::vector<Candidate> all(heads.size() * rows);
  parallel_for(std::ssize(heads), [&](std::int64_t h) {
    const std::vector<double> ceilings =
        heads[static_cast<std::size_t>(h)].rows.ceilings(field.queries, field.left_out);
    for (std::size_t i = 0; i < rows; ++i)
      all[static_cast<std::size_t>(h) * rows + i] = {ceilings[i], static_cast<int>(h), field.queries[i]};
  });
  std::ranges::make_heap(all, lower);
  return all;
}

/// Rows of one head that are rebuilt in one call.
struct Visit {
  int head;
  std::vector<int> queries;  // ascending
};

/// The next `most` candidates that `best` may still want, those of a head side by side: packing its keys costs as much
/// as some 16 rows do, so rows nearer to each other than that share a call.
std::vector<Visit> next_visits(std::vector<Candidate>& waiting, std::size_t most, const Strongest& best,
                               const std::vector<Competitor>& heads) {
  constexpr int kNear = 16;
  std::vector<Candidate> taken;
  while (taken.size() < most && !waiting.empty() && best.wants(waiting.front().ceiling)) {
    std::ranges::pop_heap(waiting, lower);
    taken.push_back(waiting.back());
    waiting.pop_back();
  }
  std::ranges::sort(taken, {}, [](const Candidate& c) { return std::tuple(c.head, c.query); });
  std::vector<Visit> visits;
  for (const Candidate& c : taken) {
    const int longest = heads[static_cast<std::size_t>(c.head)].rows.band();
    if (visits.empty() || visits.back().head != c.head || c.query - visits.back().queries.back() >= kNear ||
        c.query - visits.back().queries.front() >= longest)
      visits.push_back({c.head, {}});
    visits.back().queries.push_back(c.query);
  }
  return visits;
}

std::vector<Edge> strongest_of_rows(const Visit& visit, const Competitor& head, const Field& field, std::size_t top) {
  const auto keys = static_cast<std::size_t>(head.rows.keys());
  const int first = visit.queries.front();
  const std::vector<float> weights = head.rows.weights({first, visit.queries.back() + 1});  // [rows, keys]
  Strongest best(top);
  for (const int query : visit.queries) {
    const float* row = weights.data() + static_cast<std::size_t>(query - first) * keys;
    for (std::size_t j = 0; j < keys; ++j)
      if (row[j] > 0 && (field.left_out.empty() || !field.left_out[j]))
        best.offer({row[j], head.layer, head.head, query, static_cast<int>(j)});
  }
  return std::move(best).sorted();
}

/// Rows are rebuilt from the highest ceiling on, until none is left that reaches the weakest edge that is kept: of long
/// texts a few in a thousand. Twice as many each time, so that where ceilings say little the calls grow long.
std::vector<Edge> search(const Field& field, int sequence, std::size_t top) {
  const std::vector<Competitor> heads = competitors_of(field, sequence);
  std::vector<Candidate> waiting = candidates_of(field, heads);
  Strongest best(top);  // the order being total, it doesn't matter who comes first
  std::mutex merging;
  constexpr std::size_t kFirst = 16;
  for (std::size_t most = kFirst;; most *= 2) {
    const std::vector<Visit> visits = next_visits(waiting, most, best, heads);
    if (visits.empty()) return std::move(best).sorted();
    parallel_for(std::ssize(visits), [&](std::int64_t i) {
      const Visit& visit = visits[static_cast<std::size_t>(i)];
      const auto found = strongest_of_rows(visit, heads[static_cast<std::size_t>(visit.head)], field, top);
      const std::scoped_lock lock(merging);
      for (const Edge& e : found) best.offer(e);
    });
  }
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
  if (top <= 0) return {};
  const std::vector<Edge> edges = search(field, sequence, static_cast<std::size_t>(top));
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
