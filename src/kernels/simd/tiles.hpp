// Tile registers and their products, by the instructions (AMX-TILE, AMX-BF16).
//
// Eight tiles of 16 rows of 64 bytes: 16 × 16 floats, or 16 rows of 32 bf16. Names and meaning, as in
// tiles_emulated.hpp: a Tiles object owns the registers of its thread while it lives; zero<T>, load<T>, store<T> (rows
// `step` bytes apart), and dot<C, A, B>: C [16, 16] += A [16, 32] · B, B as 16 rows of 16 pairs, row r holding numbers
// 2r and 2r + 1 of each column.
//
// Written as assembly: GCC's _tile_loadd says nothing of the memory it reads, so that stores before it may sink past
// it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fovea::FOVEA_ISA {

class Tiles {
 public:
  Tiles() {
    struct alignas(64) Config {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    } config;
    for (int t = 0; t < 8; ++t) config.row_bytes[t] = 64, config.rows[t] = 16;
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  ~Tiles() { asm volatile("tilerelease" : : : "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int T>
  [[gnu::always_inline]] void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(T));
  }
  template <int T>
  [[gnu::always_inline]] void load(const void* rows, std::ptrdiff_t step) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(step), "i"(T) : "memory");
  }
  template <int T>
  [[gnu::always_inline]] void store(void* rows, std::ptrdiff_t step) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(step), "i"(T) : "memory");
  }
  template <int C, int A, int B>
  [[gnu::always_inline]] void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};

}  // namespace fovea::FOVEA_ISA
