#include "ops/gathering.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace fovea {

Gathering::Gathering(Attention& a, Problem& p) {
  const auto [top, segments] = *a.spec().statistics;
  constexpr int kMostSegments = 32;
  if (top < 0 || top > RowProbes::kMostTop)
    throw Error(
        fmt::format("statistics: the {} greatest weights of each row; ask for 0 to {}", top, RowProbes::kMostTop));
  if (!segments.empty() && std::ssize(segments) != p.keys)
    throw Error(fmt::format("statistics: segments of {} keys; the longest batch row has {}", segments.size(), p.keys));
  const int count = segments.empty() ? 0 : std::max(-1, std::ranges::max(segments)) + 1;
  if (count > kMostSegments)
    throw Error(fmt::format("statistics: {} segments; ask for at most {}", count, kMostSegments));

  RowStatistics& rows = a.rows;
  Shape shape = a.lse.shape();
  for (Tensor* x : {&rows.entropy, &rows.distance, &rows.first}) {
    *x = Tensor(DType::F32, shape);
    std::ranges::fill(x->values<float>(), 0.0f);  // rows past a length see nothing
  }
  probes_.sums = true;
  probes_.entropy = rows.entropy.data<float>(), probes_.distance = rows.distance.data<float>();
  probes_.first = rows.first.data<float>();
  const auto places = static_cast<std::size_t>(a.lse.elements() * top);
  rows.top_key.assign(places, -1), rows.top_weight.assign(places, 0);
  probes_.top = top, probes_.top_key = rows.top_key.data(), probes_.top_weight = rows.top_weight.data();
  if (count > 0) {
    rows.segments = Tensor(DType::F32, {shape[0], shape[1], shape[2], count});
    std::ranges::fill(rows.segments.values<float>(), 0.0f);
    probes_.share_stride = (std::int64_t{p.keys} + kTileKeys - 1) / kTileKeys * kTileKeys;
    share_.resize(static_cast<std::size_t>(count * probes_.share_stride));
    for (std::size_t j = 0; j < segments.size(); ++j)
      if (segments[j] >= 0) share_[static_cast<std::size_t>(segments[j] * probes_.share_stride) + j] = 1;
    probes_.segments = count, probes_.share = share_.data(), probes_.segment_mass = rows.segments.data<float>();
  }
  p.probes = &probes_;
}

}  // namespace fovea
