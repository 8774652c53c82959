// Random bits by counting: Philox 4×32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2,
// 3").
#pragma once
#include <cstdint>

namespace fovea::FOVEA_ISA {

/// words [4 · blocks]: block i is Philox of counter (first + i, stream) under key `seed`, so that any part of a stream
/// can be had at any time, by any thread.
inline void philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, std::int64_t blocks,
                   std::uint32_t* words) noexcept {
  constexpr int kAcross = static_cast<int>(sizeof(Words) / sizeof(std::uint64_t)), kDeep = 4, kWide = kAcross * kDeep;
  constexpr std::uint64_t kLow = 0xffffffffu;
  for (std::int64_t b = 0; b < blocks; b += kWide) {
    std::uint64_t at[2][kWide];
    for (int i = 0; i < kWide; ++i) {
      const std::uint64_t block = first + static_cast<std::uint64_t>(b + i);
      at[0][i] = block & kLow, at[1][i] = block >> 32;
    }
    // The four words of kWide counters, each in 64 bits; what products leave in upper halves is never read.
    Words c[4][kDeep];
    __builtin_memcpy(c, at, sizeof at);
    for (int d = 0; d < kDeep; ++d) c[2][d] = Words{} + (stream & kLow), c[3][d] = Words{} + (stream >> 32);
    std::uint64_t key0 = seed & kLow, key1 = seed >> 32;
    for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 4
      for (int d = 0; d < kDeep; ++d) {
        const Words p0 = product_of_low(c[0][d], Words{} + 0xd2511f53u);
        const Words p1 = product_of_low(c[2][d], Words{} + 0xcd9e8d57u);
        c[0][d] = (p1 >> 32) ^ c[1][d] ^ key0, c[1][d] = p1;
        c[2][d] = (p0 >> 32) ^ c[3][d] ^ key1, c[3][d] = p0;
      }
      key0 = (key0 + 0x9e3779b9u) & kLow, key1 = (key1 + 0xbb67ae85u) & kLow;
    }
    for (int d = 0; d < kDeep; ++d)
      for (int i = 0; i < kAcross && b + d * kAcross + i < blocks; ++i)
        for (int j = 0; j < 4; ++j)
          words[(b + d * kAcross + i) * 4 + j] = static_cast<std::uint32_t>(c[j][d][i] & kLow);
  }
}

}  // namespace fovea::FOVEA_ISA
