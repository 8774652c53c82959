// Random bits by counting: Philox 4×32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2,
// 3").
#pragma once
#include <cstdint>

namespace fovea::FOVEA_ISA {

/// words [4 · blocks]: block i is Philox of counter (first + i, stream) under key `seed`, so that any part of a stream
/// can be had at any time, by any thread.
inline void philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, std::int64_t blocks,
                   std::uint32_t* words) noexcept {
  constexpr int kWide = 16;  // counters side by side, for the compiler to vectorise
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  for (std::int64_t b = 0; b < blocks; b += kWide) {
    std::uint32_t c[4][kWide];
    for (int i = 0; i < kWide; ++i) {
      const std::uint64_t at = first + static_cast<std::uint64_t>(b + i);
      c[0][i] = low(at), c[1][i] = high(at), c[2][i] = low(stream), c[3][i] = high(stream);
    }
    std::uint32_t key0 = low(seed), key1 = high(seed);
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < kWide; ++i) {
        const std::uint64_t p0 = std::uint64_t{0xd2511f53u} * c[0][i], p1 = std::uint64_t{0xcd9e8d57u} * c[2][i];
        c[0][i] = high(p1) ^ c[1][i] ^ key0, c[1][i] = low(p1);
        c[2][i] = high(p0) ^ c[3][i] ^ key1, c[3][i] = low(p0);
      }
      key0 += 0x9e3779b9u, key1 += 0xbb67ae85u;
    }
    const int n = blocks - b < kWide ? static_cast<int>(blocks - b) : kWide;
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < 4; ++j) words[(b + i) * 4 + j] = c[j][i];
  }
}

}  // namespace fovea::FOVEA_ISA
