#include "look/rows.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace fovea::look {
namespace {

/// The part of the packed time that is one sequence; without packing there is only one.
Range extent(std::span<const int> ends, int sequence, std::int64_t time) {
  if (ends.empty()) return {0, static_cast<int>(time)};
  const auto s = static_cast<std::size_t>(sequence);
  return {s == 0 ? 0 : ends[s - 1], ends[s]};
}

}  // namespace

HeadRows::HeadRows(const models::LayerRecord& record, int sequence, int head)
    : record_(&record), sequence_(sequence), head_(head), values_(record.v.to(DType::F32)) {
  const int heads = static_cast<int>(record.q.shape()[2]), kv_heads = static_cast<int>(record.v.shape()[2]);
  if (head < 0 || head >= heads)
    throw Error(fmt::format("head {}: layer {} has heads 0 to {}; choose one of them", head, record.layer, heads - 1));
  kv_head_ = head / (heads / kv_heads);
  const Packed& packed = record.attention.spec().packed;
  queries_ = extent(packed.queries, sequence, record.q.shape()[1]);
  keys_ = extent(packed.keys, sequence, record.k.shape()[1]);
}

int HeadRows::band() const {
  constexpr int kElements =
      1 << 19;  // 2 MB of weights a thread: a band of 64 rows up to 8,192 keys, of 8 rows at 65,536
  return std::clamp(kElements / std::max(keys(), 1), 1, kTileQueries);
}

std::vector<float> HeadRows::weights(Range rows) const { return record_->attention.weights(sequence_, head_, rows); }

Trace HeadRows::trace(std::span<const float> along) const {
  return fovea::trace(record_->attention,
                      {.batch = sequence_, .head = head_, .queries = {0, queries()}, .along = along});
}

std::span<const float> HeadRows::output(int query) const {
  const Tensor& out = record_->attention.out;  // [1, tokens, heads, value_dim]
  if (out.dtype() != DType::F32) return {};
  const Shape& shape = out.shape();
  const std::int64_t at = ((queries_.begin + query) * shape[2] + head_) * shape[3];
  return {out.data<float>() + at, static_cast<std::size_t>(shape[3])};
}

bool HeadRows::has_sinks() const { return !record_->attention.spec().sinks.empty(); }

double HeadRows::sink(int query) const {
  return has_sinks() ? static_cast<double>(record_->attention.sink_weight({sequence_, head_, query})) : 0;
}

bool HeadRows::all_visible() const { return record_->attention.spec().mask.view().self == nullptr; }

int HeadRows::visible(int query) const {
  int seen = 0;
  for_visible(query, [&](int first, int last) { seen += last - first; });
  return seen;
}

double HeadRows::max_abs_error(int query, std::span<const float> row) const {
  return record_->attention.max_abs_error({sequence_, head_, query}, row);
}

std::span<const float> HeadRows::value(int key) const {
  const Shape& shape = values_.shape();
  const std::int64_t at = ((keys_.begin + key) * shape[2] + kv_head_) * shape[3];
  return {values_.data<float>() + at, static_cast<std::size_t>(shape[3])};
}

void HeadRows::add_projected(std::span<const double> x, std::span<double> sum) const {
  const TensorView& w = record_->output_weight;  // [width, heads · value_dim]
  const float* slice = static_cast<const float*>(w.data) + head_ * value_dim() * w.strides[1];
  for (std::int64_t r = 0; r < w.shape[0]; ++r) {
    double y = 0;
    for (std::size_t c = 0; c < x.size(); ++c)
      y += static_cast<double>(slice[r * w.strides[0] + static_cast<std::int64_t>(c) * w.strides[1]]) * x[c];
    sum[static_cast<std::size_t>(r)] += y;
  }
}

std::vector<double> HeadRows::gram() const {
  const TensorView& w = record_->output_weight;  // [width, heads · value_dim]
  const auto d = static_cast<std::size_t>(value_dim());
  std::vector<double> g(d * d);
  std::vector<double> row(d);
  for (std::int64_t r = 0; r < w.shape[0]; ++r) {
    const float* slice = static_cast<const float*>(w.data) + r * w.strides[0] + head_ * value_dim() * w.strides[1];
    for (std::size_t c = 0; c < d; ++c)
      row[c] = static_cast<double>(slice[static_cast<std::int64_t>(c) * w.strides[1]]);
    for (std::size_t a = 0; a < d; ++a)
      for (std::size_t b = 0; b < d; ++b) g[a * d + b] += row[a] * row[b];
  }
  return g;
}

}  // namespace fovea::look
