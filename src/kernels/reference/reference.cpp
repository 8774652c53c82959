#include "kernels/reference/reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/convert.hpp"

namespace fovea::reference {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double at(const Operand& x, std::int64_t offset, int d) { return load_element(x.dtype, x.data, offset + d * x.dim); }

double dot(const Operand& a, std::int64_t a_row, const Operand& b, std::int64_t b_row, int n) {
  double sum = 0;
  for (int d = 0; d < n; ++d) sum += at(a, a_row, d) * at(b, b_row, d);
  return sum;
}

}  // namespace

ScoredRow row(const Problem& p, int batch, int head, int query) {
  const int keys = p.keys_of(batch), kv_head = head / p.group();
  ScoredRow r;
  r.score.assign(static_cast<std::size_t>(keys), -kInf);
  r.weight.assign(static_cast<std::size_t>(keys), 0.0);
  const double sink = p.sinks ? p.sinks[head] : -kInf;

  double top = sink;
  for (int key = 0; key < keys; ++key) {
    const Site site{batch, head, query, key, p.queries_of(batch), keys};
    if (p.mask.self && !p.mask.sees(p.mask.self, site)) continue;  // what is hidden is not even read
    double s = p.scale * dot(p.q, p.q_offset(batch, head, query), p.k, p.k_offset(batch, kv_head, key), p.head_dim);
    if (p.score.self) s = p.score.value(p.score.self, s, site);
    r.score[static_cast<std::size_t>(key)] = s;
    if (s > top || s != s) top = s;  // NaN too, which no later score replaces: a visible NaN is not swallowed
  }
  if (top == -kInf) {
    r.lse = -kInf;
    return r;
  }
  double sum = std::exp(sink - top);
  for (const double s : r.score) sum += std::exp(s - top);
  r.lse = top + std::log(sum);
  for (std::size_t j = 0; j < r.score.size(); ++j) r.weight[j] = std::exp(r.score[j] - top) / sum;
  r.sink = std::exp(sink - top) / sum;
  return r;
}

std::vector<double> output(const Problem& p, int batch, int head, const ScoredRow& row) {
  std::vector<double> o(static_cast<std::size_t>(p.value_dim), 0.0);
  for (std::size_t key = 0; key < row.score.size(); ++key) {
    if (row.score[key] == -kInf) continue;  // hidden: 0 · NaN must not leak
    const std::int64_t v = p.v_offset(batch, head / p.group(), static_cast<int>(key));
    for (int d = 0; d < p.value_dim; ++d) o[static_cast<std::size_t>(d)] += row.weight[key] * at(p.v, v, d);
  }
  return o;
}

namespace {

double greatest(const ScoredRow& r) {
  double most = -kInf;
  for (const double s : r.score)
    if (!(s <= most)) most = s;  // a NaN is taken, and stays
  return most;
}

/// A row's statistics, from their definitions.
void gather(const RowProbes& to, const ScoredRow& r, int query, std::int64_t at) {
  const auto sum = [&](const auto& term) {
    double all = 0;
    for (std::size_t j = 0; j < r.weight.size(); ++j)
      if (r.weight[j] != 0) all += r.weight[j] * term(j);
    return static_cast<float>(all);
  };
  if (to.sums) {
    const float sink = r.sink > 0 ? static_cast<float>(-r.sink * std::log(r.sink)) : 0;
    to.entropy[at] = sum([&](std::size_t j) { return -std::log(r.weight[j]); }) + sink;
    to.distance[at] = sum([&](std::size_t j) { return std::abs(query - static_cast<double>(j)); });
    to.first[at] = r.weight.empty() ? 0 : static_cast<float>(r.weight[0]);
  }
  for (int i = 0; i < to.segments; ++i)
    to.segment_mass[at * to.segments + i] =
        sum([&](std::size_t j) { return double(to.share[i * to.share_stride + static_cast<std::int64_t>(j)]); });
  std::vector<int> order(to.top > 0 ? r.score.size() : 0);
  std::iota(order.begin(), order.end(), 0);
  const auto score = [&](int j) { return r.score[static_cast<std::size_t>(j)]; };
  std::ranges::sort(order, [&](int a, int b) { return score(a) != score(b) ? score(a) > score(b) : a < b; });
  for (int k = 0; k < to.top; ++k) {
    const int key = k < static_cast<int>(order.size()) ? order[static_cast<std::size_t>(k)] : -1;
    const bool there = key >= 0 && score(key) != -kInf;
    to.top_key[at * to.top + k] = there ? key : -1;
    to.top_weight[at * to.top + k] = there ? static_cast<float>(r.weight[static_cast<std::size_t>(key)]) : 0;
  }
}

}  // namespace

void forward(const Problem& p) {
  for (int b = 0; b < p.batches; ++b)
    for (int h = 0; h < p.heads; ++h)
      for (int q = 0; q < p.queries_of(b); ++q) {
        const ScoredRow r = row(p, b, h, q);
        const std::vector<double> o = output(p, b, h, r);
        for (int d = 0; d < p.value_dim; ++d)
          store_element(p.out.dtype, p.out.data, p.out_offset(b, h, q) + d * p.out.dim, o[static_cast<std::size_t>(d)]);
        const std::int64_t at = p.lse_offset(b, h, q);
        if (p.lse) p.lse[at] = static_cast<float>(r.lse);
        if (p.most) p.most[at] = static_cast<float>(greatest(r));
        if (p.probes) gather(*p.probes, r, q, at);
      }
}

// With P the weights, S the scores, dP = dout·Vᵀ and D = Σ_j P_j dP_j (= out·dout):
//   dV += Pᵀ·dout     dS = P ∘ (dP − D)     dsink = −P_sink · D
//   d(logit) = dS · functor'(logit)         dQ = scale · d(logit) · K     dK = scale · d(logit)ᵀ · Q
Gradients backward(const Problem& p, const Operand& dout,
                   const std::function<void(const Site&, double, double)>& on_score) {
  const auto count = [](int a, int b, int c, int d) {
    return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(c) *
           static_cast<std::size_t>(d);
  };
  Gradients g{std::vector<double>(count(p.batches, p.queries, p.heads, p.head_dim)),
              std::vector<double>(count(p.batches, p.keys, p.kv_heads, p.head_dim)),
              std::vector<double>(count(p.batches, p.keys, p.kv_heads, p.value_dim)),
              std::vector<double>(static_cast<std::size_t>(p.heads))};
  for (int b = 0; b < p.batches; ++b)
    for (int h = 0; h < p.heads; ++h)
      for (int q = 0; q < p.queries_of(b); ++q) {
        const ScoredRow r = row(p, b, h, q);
        const int keys = p.keys_of(b), kv = h / p.group();
        const std::int64_t q_row = p.q_offset(b, h, q), d_time = q + (p.q_begin ? p.q_begin[b] : 0),
                           d_row = b * dout.batch + d_time * dout.time + h * dout.head;
        std::vector<double> dp(static_cast<std::size_t>(keys), 0.0);
        double delta = 0;
        for (int j = 0; j < keys; ++j) {
          const auto key = static_cast<std::size_t>(j);
          if (r.score[key] == -kInf) continue;
          dp[key] = dot(dout, d_row, p.v, p.v_offset(b, kv, j), p.value_dim);
          delta += r.weight[key] * dp[key];
        }
        g.dsink[static_cast<std::size_t>(h)] -= r.sink * delta;
        double* dq = g.dq.data() + count(b * p.queries + q, p.heads, p.head_dim, 1) + h * p.head_dim;
        for (int j = 0; j < keys; ++j) {
          const auto key = static_cast<std::size_t>(j);
          if (r.score[key] == -kInf) continue;
          const Site site{b, h, q, j, p.queries_of(b), keys};
          const double ds = r.weight[key] * (dp[key] - delta);
          const std::int64_t k_row = p.k_offset(b, kv, j);
          const double logit = p.score.self ? p.scale * dot(p.q, q_row, p.k, k_row, p.head_dim) : 0;
          if (on_score) on_score(site, logit, ds);
          const double slope = p.score.self ? p.score.slope(p.score.self, logit, site).slope : 1;
          double* dk = g.dk.data() + count(b * p.keys + j, p.kv_heads, p.head_dim, 1) + kv * p.head_dim;
          double* dv = g.dv.data() + count(b * p.keys + j, p.kv_heads, p.value_dim, 1) + kv * p.value_dim;
          for (int d = 0; d < p.head_dim; ++d) {
            dq[d] += p.scale * ds * slope * at(p.k, k_row, d);
            dk[d] += p.scale * ds * slope * at(p.q, q_row, d);
          }
          for (int d = 0; d < p.value_dim; ++d) dv[d] += r.weight[key] * at(dout, d_row, d);
        }
      }
  return g;
}

}  // namespace fovea::reference
