// How great the weights of a row can be, without the row: its greatest score and its LSE are left by the forward pass.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/convert.hpp"
#include "look/rows.hpp"

namespace fovea::look {
namespace {

double squared_norm(const Tensor& x, std::int64_t at, std::int64_t dims) {
  double sum = 0;
  for (std::int64_t d = 0; d < dims; ++d) {
    const double e = load_element(x.dtype(), x.raw(), at + d);
    sum += e * e;
  }
  return sum;
}

}  // namespace

double HeadRows::of_row(const Tensor& x, int query) const {
  const std::int64_t at = head_ * x.shape()[2] + queries_.begin + query;  // packed, so of one batch row
  return static_cast<double>(x.values<float>()[static_cast<std::size_t>(at)]);
}

double HeadRows::longest_key() const {
  const Shape& shape = record_->k.shape();  // [1, tokens, kv_heads, head_dim]
  double most = 0;
  for (std::int64_t j = keys_.begin; j < keys_.end; ++j)
    most = std::max(most, squared_norm(record_->k, (j * shape[2] + kv_head_) * shape[3], shape[3]));
  return std::sqrt(most);
}

/// Weights of whole rows come from other sums of q·k than the forward pass's greatest score does, and are divided by
/// their own sum. By the contract (A = 1, B = 8 and its growth with rows, tests/support/bound.hpp) a score, LSE, and so
/// that sum are each off by no more than B · 2⁻²⁴ · (1 + L) and LSE's own rounding, L = scale · |q| · max |k| and what
/// functors add to it, which the scores themselves bound: |s| ≤ |max| + |lse| where a weight matters. Three of those.
double HeadRows::inexactness(int query, double key) const {
  const Shape& shape = record_->q.shape();  // [1, tokens, heads, head_dim]
  const double norm =
      std::sqrt(squared_norm(record_->q, ((queries_.begin + query) * shape[2] + head_) * shape[3], shape[3]));
  const double scale = record_->attention.spec().scale.value_or(1 / std::sqrt(static_cast<double>(shape[3])));
  const double b = 8 * std::max(1.0, std::sqrt(keys() / 4096.0));
  const double moved =
      std::abs(of_row(record_->attention.max, query)) + std::abs(of_row(record_->attention.lse, query));
  return 3 * b * 0x1p-24 * (1 + std::abs(scale) * norm * key + moved);
}

std::vector<double> HeadRows::left_out_share(Range queries, const std::vector<bool>& left_out) const {
  std::vector<double> share(static_cast<std::size_t>(queries.end - queries.begin));
  const auto all = static_cast<int>(left_out.size());
  for (int key = 0; key < all; ++key) {
    Range run{key, key};  // neighbours within a tile, which costs the same whole
    while (run.end < std::min(all, (key / kTileKeys + 1) * kTileKeys) && left_out[static_cast<std::size_t>(run.end)])
      ++run.end;
    if (run.end == run.begin) continue;
    const auto width = static_cast<std::size_t>(run.end - run.begin);
    const std::vector<float> a = record_->attention.weights(sequence_, head_, queries, run);  // [rows, width]
    for (std::size_t i = 0; i < a.size(); ++i) share[i / width] += static_cast<double>(a[i]);
    key = run.end - 1;
  }
  return share;
}

std::vector<double> HeadRows::ceilings(std::span<const int> queries, const std::vector<bool>& left_out) const {
  if (queries.empty()) return {};
  const auto [first, last] = std::ranges::minmax(queries);
  const std::vector<double> share = left_out_share({first, last + 1}, left_out);
  const double key = longest_key();
  std::vector<double> most;
  for (const int q : queries) {
    const double lse = of_row(record_->attention.lse, q);
    const bool sees = !(std::isinf(lse) && lse < 0);
    const double off = sees ? inexactness(q, key) : 0;
    const double peak = sees ? std::exp(of_row(record_->attention.max, q) - lse) * (1 + off) : 0;
    const double rest =
        1 + 2 * off - share[static_cast<std::size_t>(q - first)];  // all of them are 1, or less by a sink
    const double ceiling = std::min(peak, rest);
    most.push_back(std::isnan(peak) || std::isnan(rest) ? std::numeric_limits<double>::infinity() : ceiling);
  }
  return most;
}

}  // namespace fovea::look
