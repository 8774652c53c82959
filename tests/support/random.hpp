// Seeded random cases. Every case is one seed; a failure prints it, and FOVEA_TEST_SEED=<seed> runs that case alone.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <vector>

namespace fovea::testing {

/// splitmix64 (Steele, Lea, Flood 2014): the same numbers with every compiler and library.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  /// Choices (below, chance, …) are what `bytes` say, two each, until they end; normal() and what follows are the
  /// seed's. So a fuzzer's bytes are a problem's sizes, strides and parts, and not its thousands of numbers.
  Rng(std::uint64_t seed, std::span<const std::uint8_t> bytes) : state_(seed), bytes_(bytes) {}
  std::uint64_t word() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int below(int n) { return static_cast<int>(choice() % static_cast<std::uint64_t>(n)); }
  int in(int low, int high) { return low + below(high - low + 1); }  // both ends included
  bool chance(double p) { return uniform() < p; }
  double uniform() { return unit(choice()); }  // [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal();
  template <class T>
  T pick(std::initializer_list<T> from) {
    return from.begin()[below(static_cast<int>(from.size()))];
  }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[static_cast<std::size_t>(below(static_cast<int>(from.size())))];
  }
  std::vector<int> permutation(int n);

 private:
  static double unit(std::uint64_t word) { return static_cast<double>(word >> 11) * 0x1p-53; }
  std::uint64_t choice() {
    if (bytes_.size() < 2) return word();
    const std::uint64_t two = static_cast<std::uint64_t>(bytes_[0] | bytes_[1] << 8);
    bytes_ = bytes_.subspan(2);
    return two * 0x0001000100010001u;
  }
  std::uint64_t state_;
  std::span<const std::uint8_t> bytes_;
};

/// `count` scaled by FOVEA_TEST_CASES, a percentage (slow builds with sanitizers set it to a few), at least 1.
int scaled(int count);
/// Calls body(rng) for `count` seeds of this test, until one fails.
void for_cases(int count, const std::function<void(Rng&)>& body);
/// Which of them runs, from 0; 0 outside of for_cases() too.
int case_number();
/// Sizes where kernels break: none, one, primes, and either side of what a tile or a vector holds.
int odd_size(Rng& rng, int most);

}  // namespace fovea::testing
