// Tile registers and their products in plain C++, so that what is made of them is tested on every machine. Sums are
// those of TDPBF16PS: over the 16 pairs, first and second numbers apart, then both added, then added to C.
#pragma once
#include <cstddef>

#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

class Tiles {
 public:
  Tiles() = default;
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int T>
  void zero() {
    for (auto& row : tile_[T])
      for (char& byte : row) byte = 0;
  }
  template <int T>
  void load(const void* rows, std::ptrdiff_t step) {
    for (int r = 0; r < 16; ++r) __builtin_memcpy(tile_[T][r], static_cast<const char*>(rows) + r * step, 64);
  }
  template <int T>
  void store(void* rows, std::ptrdiff_t step) {
    for (int r = 0; r < 16; ++r) __builtin_memcpy(static_cast<char*>(rows) + r * step, tile_[T][r], 64);
  }
  template <int C, int A, int B>
  void dot() {
    for (int m = 0; m < 16; ++m) {
      float first[16] = {}, second[16] = {}, c[16];
      __builtin_memcpy(c, tile_[C][m], sizeof c);
      for (int k = 0; k < 16; ++k) {
        bf16 a[2], b[32];
        __builtin_memcpy(a, tile_[A][m] + 4 * k, sizeof a);
        __builtin_memcpy(b, tile_[B][k], sizeof b);
        for (int n = 0; n < 16; ++n) {
          first[n] += float(a[0]) * float(b[2 * n]);
          second[n] += float(a[1]) * float(b[2 * n + 1]);
        }
      }
      for (int n = 0; n < 16; ++n) c[n] += first[n] + second[n];
      __builtin_memcpy(tile_[C][m], c, sizeof c);
    }
  }

 private:
  alignas(64) char tile_[8][16][64] = {};
};

}  // namespace fovea::FOVEA_ISA
