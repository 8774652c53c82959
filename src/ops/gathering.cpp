#include "ops/gathering.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include <fovea/threads.hpp>
#include <fovea/trace.hpp>

namespace fovea {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Gathering::Gathering(Attention& a, Problem& p) {
  const int top = a.spec().statistics->top;
  if (top < 0 || top > RowProbes::kMostTop)
    throw Error(
        fmt::format("statistics: the {} greatest weights of each row; ask for 0 to {}", top, RowProbes::kMostTop));
  RowStatistics& rows = a.rows;
  for (Tensor* x : {&rows.entropy, &rows.max, &rows.distance, &rows.first}) *x = Tensor(DType::F32, a.lse.shape());
  for (Tensor* x : {&rows.entropy, &rows.distance, &rows.first}) std::ranges::fill(x->values<float>(), 0.0f);
  std::ranges::fill(rows.max.values<float>(), -kInfinity);
  const auto places = static_cast<std::size_t>(a.lse.elements() * top);
  rows.top_key.assign(places, -1), rows.top_weight.assign(places, 0);
  probes_.entropy = rows.entropy.data<float>(), probes_.most = rows.max.data<float>();
  probes_.distance = rows.distance.data<float>(), probes_.first = rows.first.data<float>();
  probes_.top = top, probes_.top_key = rows.top_key.data(), probes_.top_weight = rows.top_weight.data();
  p.probes = &probes_;
  for (int b = 0; b < p.batches; ++b)
    for (int h = 0; h < p.heads; ++h)
      std::fill_n(probes_.entropy + p.lse_offset(b, h, 0), p.queries_of(b), std::numeric_limits<float>::quiet_NaN());
}

void Gathering::finish(const Attention& a, const Problem& p) {
  parallel_for(std::int64_t{p.batches} * p.heads, [&](std::int64_t i) {
    const int batch = static_cast<int>(i / p.heads), head = static_cast<int>(i % p.heads);
    const float* first = probes_.entropy + p.lse_offset(batch, head, 0);
    if (std::any_of(first, first + p.queries_of(batch), [](float x) { return std::isnan(x); }))
      again(a, p, batch, head);
  });
}

namespace {

/// The greatest of a row [keys], heaviest first.
void find_top(std::span<const float> row, int top, int* key, float* weight) {
  std::vector<int> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + std::min<std::ptrdiff_t>(top, std::ssize(order));
  std::partial_sort(order.begin(), end, order.end(), [&](int a, int b) {
    const float x = row[static_cast<std::size_t>(a)], y = row[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (auto at = order.begin(); at != end; ++at) {
    const float a = row[static_cast<std::size_t>(*at)];
    if (a > 0) *key++ = *at, *weight++ = a;
  }
}

}  // namespace

void Gathering::again(const Attention& a, const Problem& p, int batch, int head) {
  const int count = p.queries_of(batch), keys = p.keys_of(batch);
  const Trace t = trace(a, {.batch = batch, .head = head, .queries = {0, count}});
  const std::int64_t at = p.lse_offset(batch, head, 0);
  for (int i = 0; i < count; ++i) {
    const auto row = static_cast<std::size_t>(i);
    probes_.entropy[at + i] = t.entropy[row], probes_.distance[at + i] = t.distance[row];
    probes_.first[at + i] = t.first[row];
    probes_.most[at + i] = t.visible[row] > 0 ? p.lse[at + i] + std::log(t.most[row]) : -kInfinity;
    if (probes_.top == 0 || keys == 0) continue;
    const std::vector<float> weights = a.weights(batch, head, {i, i + 1});
    find_top(weights, probes_.top, probes_.top_key + (at + i) * probes_.top,
             probes_.top_weight + (at + i) * probes_.top);
  }
}

}  // namespace fovea
