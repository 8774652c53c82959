// Random numbers that are the same everywhere: the distributions of <random> are each library's own.
#pragma once
#include <cstdint>
#include <iterator>

namespace fovea::demo {

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that leaves no visible pattern.
constexpr std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// SplitMix64, seeded by what is drawn: the same for one (seed, stream, index), whatever was drawn before.
class Draw {
 public:
  constexpr Draw(std::uint64_t seed, std::uint64_t stream, std::uint64_t index)
      : state_(mixed(mixed(mixed(seed + kStep) + stream + kStep) + index + kStep)) {}

  constexpr std::uint64_t next() { return mixed(state_ += kStep); }
  /// 0 … n − 1. Multiplies the upper 32 bits; the bias is under n / 2³².
  constexpr int below(int n) { return static_cast<int>(((next() >> 32) * static_cast<std::uint64_t>(n)) >> 32); }
  constexpr bool chance(double p) { return static_cast<double>(next() >> 11) * 0x1p-53 < p; }
  template <class List>
  constexpr const auto& of(const List& list) {
    return list[static_cast<std::size_t>(below(static_cast<int>(std::size(list))))];
  }

 private:
  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15u;
  std::uint64_t state_;
};

}  // namespace fovea::demo
