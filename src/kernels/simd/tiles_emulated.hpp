// Tile registers and their products, emulated beside any façade, so that what is made of them is tested on every
// machine. Sums are those of TDPBF16PS: over the 16 pairs, first and second numbers apart, then both added, then added
// to C.
#pragma once
#include <cstddef>

#include "kernels/simd/pairs_emulated.hpp"

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
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 16; n += kLanes) {
        Vec first = 0.0f, second = 0.0f;
        for (int k = 0; k < 16; ++k) {
          const Pairs a = broadcast_pair(numbers(tile_[A][m]) + 2 * k), b = load_pairs(numbers(tile_[B][k]) + 2 * n);
          first = fma(a.first, b.first, first), second = fma(a.second, b.second, second);
        }
        float* c = reinterpret_cast<float*>(tile_[C][m]) + n;
        fovea::FOVEA_ISA::store(c, fovea::FOVEA_ISA::load(c) + (first + second));
      }
  }

 private:
  static const bf16* numbers(const char* row) { return reinterpret_cast<const bf16*>(row); }  // 32
  alignas(64) char tile_[8][16][64] = {};
};

}  // namespace fovea::FOVEA_ISA
