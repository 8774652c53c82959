// Loops over numbers that are no whole count of vectors: the last part is filled up with zeros.
#pragma once
#include <cstdint>

namespace fovea::FOVEA_ISA {

/// The first n < kLanes numbers, zeros after them.
inline Vec load_part(const float* p, std::int64_t n) {
  float lanes[kLanes] = {};
  for (std::int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
}
inline void store_part(float* p, std::int64_t n, Vec x) {
  float lanes[kLanes];
  store(lanes, x);
  for (std::int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}
/// body(i, n) for runs of n numbers from i: kLanes, and at the end what remains. get and put take such a run.
template <class F>
inline void for_parts(int width, F body) {
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) body(i, kLanes);
  if (i < width) body(i, width - i);
}
inline Vec get(const float* p, int n) { return n == kLanes ? load(p) : load_part(p, n); }
inline void put(float* p, int n, Vec x) { n == kLanes ? store(p, x) : store_part(p, n, x); }
inline Lanes first_lanes(std::int64_t n) { return lanes_of((std::uint64_t{1} << n) - 1); }

/// y [n] = f(x); y may be x.
template <class F>
inline void map(const float* x, std::int64_t n, float* y, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) store_part(y + i, n - i, f(load_part(x + i, n - i)));
}
/// z [n] = f(x, y); z may be either.
template <class F>
inline void map(const float* x, const float* y, std::int64_t n, float* z, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(z + i, f(load(x + i), load(y + i)));
  if (i < n) store_part(z + i, n - i, f(load_part(x + i, n - i), load_part(y + i, n - i)));
}

/// Sum of f(x, y) over x [n], y [n]. Four sums side by side: none waits for another's addition, and each rounds less.
/// Their lanes are added up in double, for what a row is divided by is an error that all of the row shares.
template <class F>
inline double sum_over(const float* x, const float* y, std::int64_t n, F f) {
  Vec total = 0.0f;
  std::int64_t i = 0;
  if (n >= 4 * kLanes) {
    Vec sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (; i + 4 * kLanes <= n; i += 4 * kLanes)
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) sums[k] = sums[k] + f(load(x + i + k * kLanes), load(y + i + k * kLanes));
    total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
  for (; i + kLanes <= n; i += kLanes) total = total + f(load(x + i), load(y + i));
  if (i < n) total = total + select(first_lanes(n - i), f(load_part(x + i, n - i), load_part(y + i, n - i)), 0.0f);
  float lanes[kLanes];
  store(lanes, total);
  double sum = 0;
  for (const float lane : lanes) sum += static_cast<double>(lane);
  return sum;
}
/// Sum of f(x) over x [n].
template <class F>
inline double sum_over(const float* x, std::int64_t n, F f) {
  return sum_over(x, x, n, [&](Vec v, Vec) { return f(v); });
}

}  // namespace fovea::FOVEA_ISA
