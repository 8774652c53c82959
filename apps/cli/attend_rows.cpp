// Weights and row statistics of fovea attend, streamed.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fovea/threads.hpp>

#include "attend.hpp"

namespace fovea::cli {

void for_weight_bands(const AttentionInput& in, const Attention& a,
                      const std::function<void(const WeightBand&)>& take) {
  const int batches = static_cast<int>(in.q.shape()[0]), time = static_cast<int>(in.q.shape()[1]);
  const int heads = static_cast<int>(in.q.shape()[2]), keys = static_cast<int>(in.k.shape()[1]);
  constexpr int kElements = 1 << 18;  // 1 MB of weights a band
  constexpr std::size_t kAtOnce = 32;
  const int rows = std::clamp(kElements / std::max(keys, 1), 1, kTileQueries);

  const auto fill = [&](WeightBand& band) {
    const auto b = static_cast<std::size_t>(band.batch);
    const int seen = in.q_lengths ? (*in.q_lengths)[b] : time, width = in.kv_lengths ? (*in.kv_lengths)[b] : keys;
    band.rows.assign(static_cast<std::size_t>(band.count) * static_cast<std::size_t>(keys), 0.f);
    const int end = std::min(band.begin + band.count, seen);
    if (end <= band.begin) return;
    const std::vector<float> weights = a.weights(band.batch, band.head, {band.begin, end});  // [end - begin, width]
    for (int i = 0; i < end - band.begin; ++i)
      std::copy_n(weights.begin() + static_cast<std::ptrdiff_t>(i) * width, width,
                  band.rows.begin() + static_cast<std::ptrdiff_t>(i) * keys);
  };
  std::vector<WeightBand> bands;
  const auto flush = [&] {
    parallel_for(static_cast<std::int64_t>(bands.size()),
                 [&](std::int64_t i) { fill(bands[static_cast<std::size_t>(i)]); });
    for (const WeightBand& band : bands) take(band);
    bands.clear();
  };
  for (int b = 0; b < batches; ++b)
    for (int h = 0; h < heads; ++h)
      for (int q = 0; q < time; q += rows) {
        bands.push_back({b, h, q, std::min(rows, time - q), {}});
        if (bands.size() == kAtOnce) flush();
      }
  flush();
}

SinkStatistics::SinkStatistics(const AttentionInput& in, const Attention& bare)
    : entropy(DType::F32, bare.lse.shape()), max(DType::F32, bare.lse.shape()), in_(in), bare_(bare) {}

void SinkStatistics::take(const WeightBand& band) {
  const std::int64_t heads = in_.q.shape()[2], time = in_.q.shape()[1];
  const auto keys = static_cast<std::size_t>(in_.k.shape()[1]);
  for (int i = 0; i < band.count; ++i) {
    const std::span row(band.rows.data() + static_cast<std::size_t>(i) * keys, keys);
    const auto at = static_cast<std::size_t>((band.batch * heads + band.head) * time + band.begin + i);
    const double lse = static_cast<double>(bare_.lse.values<float>()[at]);
    if (lse == -std::numeric_limits<double>::infinity()) {
      max.values<float>()[at] = -std::numeric_limits<float>::infinity();
      continue;
    }
    double entropy_sum = 0, top = 0;
    for (const float w : row) {
      const double a = static_cast<double>(w);
      if (a != 0) entropy_sum -= a * std::log(a);
      if (!(a <= top)) top = a;
    }
    if (in_.sink) {  // one more outcome, of probability p: H = (1 − p)·H_keys + h(p)
      const double logit = static_cast<double>(in_.sink->values<float>()[static_cast<std::size_t>(band.head)]);
      const double p = 1 / (1 + std::exp(lse - logit)), rest = 1 / (1 + std::exp(logit - lse));
      entropy_sum *= rest;
      for (const double x : {p, rest})
        if (x > 0) entropy_sum -= x * std::log(x);
    }
    entropy.values<float>()[at] = static_cast<float>(entropy_sum);
    max.values<float>()[at] = static_cast<float>(lse + std::log(top));
  }
}

}  // namespace fovea::cli
