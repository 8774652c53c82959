// What a step of learning does to many numbers at once, beside the products: dropout, the optimiser, norms.
#pragma once
#include "kernels/generic/parts.hpp"
#include "kernels/generic/philox.hpp"
#include "kernels/table.hpp"

namespace fovea::FOVEA_ISA {

/// y [n] = x · factor where the stream's half word, from block `first` (of 8 halves) on, is `fall` or more, else 0
/// (Srivastava et al. 2014).
inline void drop(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, std::uint16_t fall, float factor,
                 const float* x, std::int64_t n, float* y) noexcept {
  constexpr std::int64_t kRun = 2048;  // drawn at a time: 4 KB
  std::uint32_t words[kRun / 2];
  std::uint16_t halves[kRun];
  for (std::int64_t begin = 0; begin < n; begin += kRun) {
    const std::int64_t run = n - begin < kRun ? n - begin : kRun;
    philox(seed, stream, first + static_cast<std::uint64_t>(begin / 8), (run + 7) / 8, words);
    __builtin_memcpy(halves, words, sizeof halves);
    for (std::int64_t i = 0; i < run; ++i) {
      const float kept = x[begin + i] * factor;
      y[begin + i] = halves[i] >= fall ? kept : 0.0f;
    }
  }
}

/// One step of AdamW (Loshchilov & Hutter 2019) over n parameters; m and v are the moments, g the slopes.
inline void adamw(const AdamWStep& s, const float* g, float* p, float* m, float* v, std::int64_t n) noexcept {
  const auto step = [&](Vec slope, Vec& parameter, Vec& first, Vec& second) {
    slope = slope * s.slope_factor;
    first = fma(s.beta1, first, slope * s.rest1);
    second = fma(s.beta2, second, slope * slope * s.rest2);
    const Vec change = first * s.rate / (sqrt(second * s.unbias2) + s.eps);
    parameter = parameter - (change + parameter * s.decay);
  };
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t rest = n - i;
    const bool whole = rest >= kLanes;
    const auto read = [&](const float* x) { return whole ? load(x + i) : load_part(x + i, rest); };
    const auto write = [&](float* x, Vec y) { whole ? store(x + i, y) : store_part(x + i, rest, y); };
    Vec parameter = read(p), first = read(m), second = read(v);
    step(read(g), parameter, first, second);
    write(p, parameter), write(m, first), write(v, second);
  }
}

/// to [n] += from.
inline void add(const float* from, float* to, std::int64_t n) noexcept {
  map(from, to, n, to, [](Vec a, Vec b) { return a + b; });
}

/// Σ x and Σ x² over runs of 1024, which keep their rounding small, added up in double.
template <class F>
inline double sum_of_runs(const float* x, std::int64_t n, F f) {
  constexpr std::int64_t kRun = 1024;
  double sum = 0;
  for (std::int64_t i = 0; i < n; i += kRun) sum += sum_over(x + i, n - i < kRun ? n - i : kRun, f);
  return sum;
}
inline double sum(const float* x, std::int64_t n) noexcept {
  return sum_of_runs(x, n, [](Vec v) { return v; });
}
inline double sum_of_squares(const float* x, std::int64_t n) noexcept {
  return sum_of_runs(x, n, [](Vec v) { return v * v; });
}

}  // namespace fovea::FOVEA_ISA
