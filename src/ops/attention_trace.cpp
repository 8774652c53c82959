// The second pass over one head: bands of rows side by side, each with its own sums, added up in their order.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include <fovea/threads.hpp>
#include <fovea/trace.hpp>

#include "core/convert.hpp"
#include "core/scratch.hpp"
#include "kernels/reference/reference.hpp"
#include "kernels/registry.hpp"
#include "ops/attention_problem.hpp"

namespace fovea {
namespace {

int up_to_tiles(int keys) { return (keys + kTileKeys - 1) / kTileKeys * kTileKeys; }

void check(const Problem& p, const TraceQuery& q) {
  const auto refuse = [](const char* what, std::int64_t got, std::int64_t expected) {
    throw Error(fmt::format("trace: {} {}; expected {}", what, got, expected));
  };
  if (q.batch < 0 || q.batch >= p.batches) refuse("batch row", q.batch, p.batches - 1);
  if (q.head < 0 || q.head >= p.heads)
    throw Error(fmt::format("trace: head {} is out of range: there are {}, counted from 0", q.head, p.heads));
  if (q.queries.begin < 0 || q.queries.begin > q.queries.end || q.queries.end > p.queries_of(q.batch))
    throw Error(fmt::format("trace: queries [{}, {}) are out of range: batch row {} has {}", q.queries.begin,
                            q.queries.end, q.batch, p.queries_of(q.batch)));
  const int rows = q.queries.end - q.queries.begin, keys = p.keys_of(q.batch);
  if (!q.along.empty() && std::ssize(q.along) != keys) refuse("numbers along keys:", std::ssize(q.along), keys);
  if (!q.received_share.empty() && std::ssize(q.received_share) != rows)
    refuse("shares of rows:", std::ssize(q.received_share), rows);
}

/// Where everything of one call goes.
class Tracing {
 public:
  Tracing(Problem& p, const TraceQuery& q)
      : p_(p), q_(q), rows_(q.queries.end - q.queries.begin), keys_(p.keys_of(q.batch)) {
    const auto rows = static_cast<std::size_t>(rows_);
    for (auto* x : {&t_.mass, &t_.entropy, &t_.most, &t_.distance, &t_.first, &t_.along, &t_.error}) x->resize(rows);
    t_.visible.resize(rows);
    t_.at.resize(q.offsets.size() * rows);
    if (q.received) t_.received.resize(static_cast<std::size_t>(keys_));
    tiles_ = up_to_tiles(keys_) / kTileKeys;
    const auto map = static_cast<std::size_t>((rows_ + kTileKeys - 1) / kTileKeys) * static_cast<std::size_t>(tiles_);
    if (q.tiles) t_.tile_mass.resize(map), t_.tile_peak.resize(map);
    if (!q.along.empty()) along_.assign(q.along.begin(), q.along.end());
    if (!q.along.empty()) along_.resize(static_cast<std::size_t>(up_to_tiles(keys_)));
    if (!q.rows) return;
    probes_.sums = true;
    probes_.segments = q.along.empty() ? 0 : 1, probes_.share = along_.data(),
    probes_.share_stride = up_to_tiles(keys_);
    p.probes = &probes_;
  }
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;

  void run(const KernelTable& table) {
    const Plan plan = table.plan(p_);
    const int band = std::max(plan.query_rows / kTileKeys, 1) * kTileKeys;  // no tile lies in two of them
    const int bands = (rows_ + band - 1) / band;
    constexpr int kAtOnce = 16;  // each with columns of its own
    for (int first = 0; first < bands; first += kAtOnce) {
      std::vector<std::vector<float>> received(static_cast<std::size_t>(std::min(kAtOnce, bands - first)));
      parallel_for(std::ssize(received), [&](std::int64_t i) {
        const int begin = (first + static_cast<int>(i)) * band;
        // A plan has at least 48 rows, and a band perhaps 64.
        for (int at = begin; at < std::min(begin + band, rows_); at += plan.query_rows)
          one(table, plan, {at, std::min({at + plan.query_rows, begin + band, rows_})},
              received[static_cast<std::size_t>(i)]);
      });
      for (const std::vector<float>& part : received)
        for (std::size_t j = 0; j < t_.received.size(); ++j) t_.received[j] += static_cast<double>(part[j]);
    }
  }

  /// The same by the float64 reference.
  void run(const PreparedProblem& prepared, const Tensor& out) {
    for (int i = 0; i < rows_; ++i) row(i, reference::row(p_, q_.batch, q_.head, q_.queries.begin + i), prepared, out);
  }

  Trace take() && {
    if (q_.rows) return std::move(t_);
    Trace columns;
    columns.received = std::move(t_.received);
    columns.tile_mass = std::move(t_.tile_mass), columns.tile_peak = std::move(t_.tile_peak);
    return columns;
  }

 private:
  void one(const KernelTable& table, const Plan& plan, Range rows, std::vector<float>& received) {
    const auto at = static_cast<std::size_t>(rows.begin), count = static_cast<std::size_t>(rows.end - rows.begin);
    std::vector<float> gathered(q_.offsets.size() * count);
    if (q_.received) received.resize(static_cast<std::size_t>(up_to_tiles(keys_)));
    HeadTrace h;
    h.batch = q_.batch, h.head = q_.head;
    h.queries = {q_.queries.begin + rows.begin, q_.queries.begin + rows.end};
    h.rows = q_.rows;
    h.offsets = q_.offsets.data(), h.offset_count = static_cast<int>(q_.offsets.size());
    h.row_share = q_.received_share.empty() ? nullptr : q_.received_share.data() + at;
    h.visible = t_.visible.data() + at;
    h.mass = t_.mass.data() + at, h.entropy = t_.entropy.data() + at, h.most = t_.most.data() + at;
    h.distance = t_.distance.data() + at, h.along = t_.along.data() + at, h.first = t_.first.data() + at;
    h.error = t_.error.data() + at, h.at = gathered.data();
    h.received = q_.received ? received.data() : nullptr;
    h.first_row = rows.begin, h.tiles = tiles_;
    h.tile_mass = q_.tiles ? t_.tile_mass.data() : nullptr, h.tile_peak = q_.tiles ? t_.tile_peak.data() : nullptr;
    table.trace(p_, plan, h, thread_scratch(plan.scratch_bytes));
    for (std::size_t k = 0; k < q_.offsets.size(); ++k)
      std::copy_n(gathered.begin() + static_cast<std::ptrdiff_t>(k * count), count,
                  t_.at.begin() + static_cast<std::ptrdiff_t>(k) * rows_ + rows.begin);
  }

  void row(int i, const reference::ScoredRow& r, const PreparedProblem& prepared, const Tensor& out) {
    const auto at = static_cast<std::size_t>(i);
    const int query = q_.queries.begin + i;
    double mass = 0, entropy = r.sink > 0 ? -r.sink * std::log(r.sink) : 0, most = 0, distance = 0, along = 0;
    for (int j = 0; j < keys_; ++j) {
      const auto key = static_cast<std::size_t>(j);
      const double a = r.weight[key];
      t_.visible[at] += p_.mask.self ? shows(query, j) : 1;
      if (a == 0) continue;
      mass += a, entropy -= a * std::log(a), most = !(a <= most) ? a : most, distance += a * std::abs(query - j);
      if (!along_.empty()) along += a * static_cast<double>(along_[key]);
      if (q_.received)
        t_.received[key] += a * (q_.received_share.empty() ? 1.0 : static_cast<double>(q_.received_share[at]));
      if (!q_.tiles) continue;
      const std::size_t tile = at / kTileKeys * static_cast<std::size_t>(tiles_) + key / kTileKeys;
      t_.tile_mass[tile] += static_cast<float>(a);
      t_.tile_peak[tile] = std::max(t_.tile_peak[tile], static_cast<float>(a));
    }
    t_.mass[at] = static_cast<float>(mass), t_.entropy[at] = static_cast<float>(entropy);
    t_.most[at] = static_cast<float>(most), t_.distance[at] = static_cast<float>(distance);
    t_.along[at] = static_cast<float>(along);
    if (keys_ > 0) t_.first[at] = static_cast<float>(r.weight[0]);
    for (std::size_t k = 0; k < q_.offsets.size(); ++k)
      if (const int key = query + q_.offsets[k]; key >= 0 && key < keys_)
        t_.at[k * static_cast<std::size_t>(rows_) + at] = static_cast<float>(r.weight[static_cast<std::size_t>(key)]);
    const std::vector<double> made = reference::output(p_, q_.batch, q_.head, r);
    const std::int64_t place = prepared.out_offset(q_.batch, q_.head, query);
    double worst = 0;
    for (int d = 0; d < p_.value_dim; ++d) {
      const double off = std::abs(made[static_cast<std::size_t>(d)] - load_element(out.dtype(), out.raw(), place + d));
      if (!(off <= worst)) worst = off;  // a NaN is an error too
    }
    t_.error[at] = static_cast<float>(worst);
  }
  int shows(int query, int key) const {
    std::uint64_t bits = 0;
    const Tile tile{q_.batch, q_.head, {query, query + 1}, {key, key + 1}, p_.queries_of(q_.batch), keys_};
    const Cover cover = p_.mask.bits(p_.mask.self, tile, &bits);
    return cover == Cover::Full || (cover == Cover::Partial && (bits & 1)) ? 1 : 0;
  }

  const Problem& p_;
  const TraceQuery& q_;
  int rows_, keys_;
  std::int64_t tiles_ = 0;
  std::vector<float> along_;  // [keys, up to a multiple of 64]
  RowProbes probes_;
  Trace t_;
};

}  // namespace

Trace trace(const Attention& a, const TraceQuery& query) {
  PreparedProblem prepared(a.q_, a.k_, a.v_, a.spec_);
  prepared.set_results(a.out, a.lse);
  check(prepared.problem, query);
  Tracing tracing(prepared.problem, query);
  const ForwardKernel& kernel = choose_kernel(prepared.problem, a.kernel_);
  if (kernel.table)
    tracing.run(*kernel.table);
  else
    tracing.run(prepared, a.out);
  return std::move(tracing).take();
}

}  // namespace fovea
