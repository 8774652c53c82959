// The boundary of attention: what users hand in is checked and named here; below are views that kernels trust.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include <fovea/attention.hpp>
#include <fovea/threads.hpp>

#include "core/convert.hpp"
#include "core/scratch.hpp"
#include "kernels/probe.hpp"
#include "kernels/reference/reference.hpp"
#include "kernels/registry.hpp"
#include "ops/attention_problem.hpp"
#include "ops/gathering.hpp"

namespace fovea {
namespace {

void run(const Problem& p, const ForwardKernel& kernel) {
  if (!kernel.table) return reference::forward(p);
  Plan plan = kernel.table->plan(p);
  std::vector<float> partials(static_cast<std::size_t>(plan.partial_floats));
  plan.partials = partials.data();
  if (plan.few_bytes > 0) plan.into_l2 = asking_into_l2_pays(plan.few_bytes);
  parallel_for(plan.items,
               [&](std::int64_t item) { kernel.table->forward(p, plan, item, thread_scratch(plan.scratch_bytes)); });
  if (plan.partial_floats) kernel.table->merge(p, plan, thread_scratch(plan.scratch_bytes));
}

}  // namespace

Attention attend(const TensorView& q, const TensorView& k, const TensorView& v, AttentionSpec spec) {
  return attend(q, PagedView(k), PagedView(v), std::move(spec));
}

Attention attend(const TensorView& q, const PagedView& k, const PagedView& v, AttentionSpec spec) {
  Attention a;
  a.q_ = q, a.k_ = k, a.v_ = v;
  a.spec_ = std::move(spec);
  PreparedProblem prepared(q, k, v, a.spec_);
  Problem& p = prepared.problem;
  a.out = to_be_filled(p.out.dtype, {q.shape[0], q.shape[1], q.shape[2], v.pool.shape[3]}, p.q_lengths);
  for (Tensor* x : {&a.lse, &a.max}) {
    *x = Tensor(DType::F32, {q.shape[0], q.shape[2], q.shape[1]});
    std::ranges::fill(x->values<float>(), -std::numeric_limits<float>::infinity());  // rows past a length see nothing
  }
  prepared.set_results(a.out, a.lse);
  p.most = a.max.data<float>();
  const ForwardKernel& kernel = choose_kernel(p, a.spec_.kernel);
  a.kernel_ = kernel.name;
  std::optional<Gathering> gathering;
  if (a.spec_.statistics) gathering.emplace(a, p);
  run(p, kernel);
  return a;
}

Explanation explain(const TensorView& q, const TensorView& k, const TensorView& v, const AttentionSpec& spec) {
  return explain(q, PagedView(k), PagedView(v), spec);
}

Explanation explain(const TensorView& q, const PagedView& k, const PagedView& v, const AttentionSpec& spec) {
  const PreparedProblem prepared(q, k, v, spec);
  const Problem& p = prepared.problem;
  const ForwardKernel& chosen = choose_kernel(p, spec.kernel);
  Explanation e;
  e.chosen = chosen.name;
  for (const ForwardKernel& kernel : forward_kernels()) {
    if (kernel.emulated && &kernel != &chosen) continue;  // for tests: nobody misses it
    std::string refusal = kernel.refuses(p);
    if (refusal.empty() && &kernel != &chosen)
      refusal = spec.kernel.empty() ? fmt::format("FOVEA_ISA asks for {}", chosen.name)
                                    : fmt::format("kernel {} was asked for by name", chosen.name);
    e.candidates.push_back({kernel.name, &kernel == &chosen ? "" : refusal});
    if (&kernel == &chosen) break;
  }
  if (chosen.table) {
    const Plan plan = chosen.table->plan(p);
    e.query_rows = plan.query_rows;
    e.tile_keys = kTileKeys;
    e.items = plan.items;
    e.scratch_bytes = static_cast<std::int64_t>(plan.scratch_bytes);
  }
  return e;
}

// -------------------------------------------------------------------------------------------------------------
// questions

namespace {

void check_index(const char* what, int i, int n) {
  if (i < 0 || i >= n) throw Error(fmt::format("{} {} is out of range: there are {}, counted from 0", what, i, n));
}

void check_row(const Problem& p, int batch, int head) {
  check_index("batch row", batch, p.batches);
  check_index("head", head, p.heads);
}

/// Σ_j weight_j · v_j in double, [value_dim]. Asked for every row of every head that is shown, so v as models have it
/// is read without looking up its dtype per element (3 times faster).
std::vector<double> mixture(const Problem& p, int batch, int head, std::span<const float> weights) {
  std::vector<double> sum(static_cast<std::size_t>(p.value_dim));
  double* o = sum.data();
  const int dim = p.value_dim;
  const bool plain = p.v.dtype == DType::F32 && p.v.dim == 1;
  for (std::size_t j = 0; j < weights.size(); ++j) {
    const auto a = static_cast<double>(weights[j]);
    if (a == 0) continue;  // what is hidden may hold NaN
    const std::int64_t at = p.v_offset(batch, head / p.group(), static_cast<int>(j));
    if (plain) {
      const float* v = static_cast<const float*>(p.v.data) + at;
      for (int d = 0; d < dim; ++d) o[d] += a * static_cast<double>(v[d]);
    } else {
      for (int d = 0; d < dim; ++d) o[d] += a * load_element(p.v.dtype, p.v.data, at + d * p.v.dim);
    }
  }
  return sum;
}

}  // namespace

std::vector<float> Attention::weights(int batch, int head, Range queries) const {
  return weights(batch, head, queries, {0, -1});
}

std::vector<float> Attention::weights(int batch, int head, Range queries, Range wanted) const {
  PreparedProblem prepared(q_, k_, v_, spec_);
  prepared.set_lse(lse);
  const Problem& p = prepared.problem;
  check_row(p, batch, head);
  if (wanted.end < 0) wanted.end = p.keys_of(batch);  // all of them
  if (wanted.begin < 0 || wanted.begin > wanted.end || wanted.end > p.keys_of(batch))
    throw Error(fmt::format("keys [{}, {}) are out of range: batch row {} has {}", wanted.begin, wanted.end, batch,
                            p.keys_of(batch)));
  if (queries.begin < 0 || queries.begin > queries.end || queries.end > p.queries_of(batch))
    throw Error(fmt::format("queries [{}, {}) are out of range: batch row {} has {}", queries.begin, queries.end, batch,
                            p.queries_of(batch)));
  const auto keys = static_cast<std::size_t>(wanted.end - wanted.begin);
  std::vector<float> rows(static_cast<std::size_t>(queries.end - queries.begin) * keys);
  const ForwardKernel& kernel = choose_kernel(p, kernel_);
  if (!kernel.table) {
    for (int i = queries.begin; i < queries.end; ++i) {
      const std::vector<double> row = reference::row(p, batch, head, i).weight;
      std::ranges::copy(std::span(row).subspan(static_cast<std::size_t>(wanted.begin), keys),
                        rows.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(i - queries.begin) * keys));
    }
    return rows;
  }
  const Plan plan = kernel.table->plan(p);
  for (int i = queries.begin; i < queries.end; i += plan.query_rows) {
    const Range band{i, std::min(i + plan.query_rows, queries.end)};
    kernel.table->weights(p, plan, batch, head, band, wanted,
                          rows.data() + static_cast<std::size_t>(i - queries.begin) * keys,
                          thread_scratch(plan.scratch_bytes));
  }
  return rows;
}

std::vector<float> Attention::weights(At row) const { return weights(row.batch, row.head, {row.query, row.query + 1}); }

std::vector<float> Attention::weights(std::span<const Edge> edges) const {
  std::vector<float> all;
  for (const Edge& e : edges)
    all.push_back(weights(e.batch, e.head, {e.query, e.query + 1}, {e.key, e.key + 1}).front());
  return all;
}

float Attention::sink_weight(At row) const {
  const PreparedProblem prepared(q_, k_, v_, spec_);
  const Problem& p = prepared.problem;
  check_row(p, row.batch, row.head);
  check_index("query", row.query, p.queries_of(row.batch));
  if (!p.sinks) return 0;
  const auto at = static_cast<std::size_t>(prepared.lse_offset(row.batch, row.head, row.query));
  const float sum = lse.values<float>()[at];
  return std::isinf(sum) && sum < 0 ? 0 : std::exp(p.sinks[row.head] - sum);  // −∞: neither a key nor a sink
}

std::vector<float> Attention::without(Edge edge) const {
  const PreparedProblem prepared(q_, k_, v_, spec_);
  const Problem& p = prepared.problem;
  const std::vector<float> row = weights({edge.batch, edge.head, edge.query});
  check_index("key", edge.key, p.keys_of(edge.batch));
  const double weight = row[static_cast<std::size_t>(edge.key)];
  double others = sink_weight({edge.batch, edge.head, edge.query});  // 1 − weight, but without its cancellation
  for (std::size_t j = 0; j < row.size(); ++j)
    others += static_cast<int>(j) == edge.key ? 0.0 : static_cast<double>(row[j]);
  if (weight > 0 && others <= 0)
    throw Error(
        fmt::format("without: key {} is all that query {} of head {} sees; removing it leaves nothing to attend to",
                    edge.key, edge.query, edge.head));
  std::vector<float> o(static_cast<std::size_t>(p.value_dim));
  const std::int64_t value = p.v_offset(edge.batch, edge.head / p.group(), edge.key);
  const std::int64_t at = prepared.out_offset(edge.batch, edge.head, edge.query);
  for (int d = 0; d < p.value_dim; ++d) {
    const double now = load_element(out.dtype(), out.raw(), at + d);
    const double removed =
        weight > 0 ? weight * load_element(p.v.dtype, p.v.data, value + d * p.v.dim) : 0.0;  // hidden NaN stays hidden
    o[static_cast<std::size_t>(d)] = static_cast<float>(weight > 0 ? (now - removed) / others : now);
  }
  return o;
}

double Attention::max_abs_error(At row) const { return max_abs_error(row, weights(row)); }

double Attention::max_abs_error(At row, std::span<const float> weights) const {
  const PreparedProblem prepared(q_, k_, v_, spec_);
  const Problem& p = prepared.problem;
  check_row(p, row.batch, row.head);
  check_index("query", row.query, p.queries_of(row.batch));
  if (static_cast<int>(weights.size()) != p.keys_of(row.batch))
    throw Error(fmt::format("max_abs_error: {} weights for a row of {} keys", weights.size(), p.keys_of(row.batch)));
  const std::vector<double> o = mixture(p, row.batch, row.head, weights);
  double worst = 0;
  const std::int64_t at = prepared.out_offset(row.batch, row.head, row.query);
  for (int d = 0; d < p.value_dim; ++d) {
    const double error = std::abs(o[static_cast<std::size_t>(d)] - load_element(out.dtype(), out.raw(), at + d));
    if (!(error <= worst)) worst = error;  // a NaN is an error too
  }
  return worst;
}

}  // namespace fovea
