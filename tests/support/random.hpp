// Seeded random cases. Every case is one seed; a failure prints it, and FOVEA_TEST_SEED=<seed> runs that case alone.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace fovea::testing {

/// splitmix64 (Steele, Lea, Flood 2014): the same numbers with every compiler and library.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t word() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int below(int n) { return static_cast<int>(word() % static_cast<std::uint64_t>(n)); }
  int in(int low, int high) { return low + below(high - low + 1); }  // both ends included
  bool chance(double p) { return uniform() < p; }
  double uniform() { return static_cast<double>(word() >> 11) * 0x1p-53; }  // [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal() {  // Box and Muller 1958
    return std::sqrt(-2 * std::log(1 - uniform())) * std::cos(2 * std::numbers::pi * uniform());
  }
  template <class T>
  T pick(std::initializer_list<T> from) {
    return from.begin()[below(static_cast<int>(from.size()))];
  }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<std::size_t>(below(static_cast<int>(from.size())))];
  }
  std::vector<int> permutation(int n) {
    std::vector<int> order(static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) {
      const int j = in(0, i);
      order[static_cast<std::size_t>(i)] = order[static_cast<std::size_t>(j)];
      order[static_cast<std::size_t>(j)] = i;
    }
    return order;
  }

 private:
  std::uint64_t state_;
};

/// `count` scaled by FOVEA_TEST_CASES, a percentage (slow builds with sanitizers set it to a few), at least 1.
inline int scaled(int count) {
  const char* percent = std::getenv("FOVEA_TEST_CASES");
  const double scale = percent ? std::atof(percent) / 100 : 1.0;
  return std::max(1, static_cast<int>(count * scale));
}

/// Calls body(rng) for `count` seeds of this test, until one fails.
template <class Body>
void for_cases(int count, Body body) {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string name = fmt::format("{}.{}", info->test_suite_name(), info->name());
  std::uint64_t stream = 0xcbf29ce484222325u;  // FNV-1a of the name: tests don't share their cases
  for (const char c : name) stream = (stream ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  const char* only = std::getenv("FOVEA_TEST_SEED");
  const int cases = only ? 1 : scaled(count);
  Rng seeds(stream);
  for (int i = 0; i < cases; ++i) {
    const std::uint64_t seed = only ? std::strtoull(only, nullptr, 10) : seeds.word();
    SCOPED_TRACE(fmt::format("case {} of {}; to run it alone: FOVEA_TEST_SEED={} with --gtest_filter={}", i + 1, cases,
                             seed, name));
    Rng rng(seed);
    body(rng);
    if (::testing::Test::HasFailure()) return;
  }
}

/// Sizes where kernels break: none, one, primes, and either side of what a tile or a vector holds.
inline int odd_size(Rng& rng, int most) {
  static const std::vector<int> kSizes = {1,  1,  2,  2,  3,  5,   7,   8,   11,  13,  15, 16, 17,
                                          19, 23, 31, 32, 33, 37,  47,  48,  49,  61,  63, 64, 65,
                                          67, 79, 80, 97, 96, 101, 112, 127, 128, 129, 131};
  for (;;) {
    const int n = rng.chance(0.75) ? rng.pick(kSizes) : rng.in(1, 200);
    if (n <= most) return n;
  }
}

}  // namespace fovea::testing
