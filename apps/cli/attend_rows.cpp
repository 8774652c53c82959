// Weights of fovea attend, streamed.
#include <algorithm>

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

}  // namespace fovea::cli
