// The SIMD façade for AVX-512 (F, BW, DQ, VL): sixteen lanes. Names and meaning as in scalar.hpp.
#pragma once
#include <cstdint>
#include <immintrin.h>

#include <fovea/dtype.hpp>

#include "kernels/simd/powers.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kLanes = 16;
inline constexpr int kTileRows = 6, kTileVecs = 4;  // 24 accumulators + 4 of B + 1 of A = 29 of 32 registers

struct Vec {
  __m512 v;
  Vec() = default;
  Vec(float x) : v(_mm512_set1_ps(x)) {}
  explicit Vec(__m512 x) : v(x) {}
};
struct Lanes {
  __mmask16 m;
};

inline Vec load(const float* p) { return Vec(_mm512_loadu_ps(p)); }
inline void store(float* p, Vec x) { _mm512_storeu_ps(p, x.v); }
inline Vec load(const bf16* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return Vec(_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
}
inline Vec load(const f16* p) { return Vec(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))); }
inline void store(f16* p, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/// Rounded as bf16(float) rounds: to nearest, ties to even; a NaN stays one.
inline void store(bf16* p, Vec x) {
  const __m512i u = _mm512_castps_si512(x.v), high = _mm512_srli_epi32(u, 16);
  const __m512i tie = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i even = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(tie, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  const __m512i bits = _mm512_mask_or_epi32(even, nan, high, _mm512_set1_epi32(0x40));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(bits));
}

inline Vec operator+(Vec a, Vec b) { return Vec(_mm512_add_ps(a.v, b.v)); }
inline Vec operator-(Vec a, Vec b) { return Vec(_mm512_sub_ps(a.v, b.v)); }
inline Vec operator*(Vec a, Vec b) { return Vec(_mm512_mul_ps(a.v, b.v)); }
inline Vec operator/(Vec a, Vec b) { return Vec(_mm512_div_ps(a.v, b.v)); }
inline Vec fma(Vec a, Vec b, Vec c) { return Vec(_mm512_fmadd_ps(a.v, b.v, c.v)); }
inline Vec sqrt(Vec x) { return Vec(_mm512_sqrt_ps(x.v)); }
inline Vec max(Vec a, Vec b) { return Vec(_mm512_max_ps(a.v, b.v)); }
inline Vec min(Vec a, Vec b) { return Vec(_mm512_min_ps(a.v, b.v)); }
inline Lanes operator<(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Vec select(Lanes m, Vec a, Vec b) { return Vec(_mm512_mask_blend_ps(m.m, b.v, a.v)); }
inline Lanes lanes_of(std::uint64_t bits) { return {static_cast<__mmask16>(bits & 0xffff)}; }
inline Vec round_to_int(Vec x) { return Vec(_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
inline Vec scale_by_power_of_two(Vec x, Vec n) { return Vec(_mm512_scalef_ps(x.v, n.v)); }
/// Two slots of the FMA ports, and a part of the lookup. Rounded down, since scaling takes ⌊x⌋.
inline Vec exp2(Vec x) {
  constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC, kFractionBits = 5;
  const __m512 steps = _mm512_add_round_ps(x.v, _mm512_set1_ps(393216.f), kDown);  // 1.5 · 2^18
  const __m512 power = _mm512_permutex2var_ps(_mm512_load_ps(kPowersOfSquare), _mm512_castps_si512(steps),
                                              _mm512_load_ps(kPowersOfSquare + 16));
  const Vec u = Vec(_mm512_reduce_ps(x.v, kFractionBits << 4 | kDown)) + kSquareAt;
  return Vec(_mm512_scalef_ps((Vec(power) * fma(u, u, kSquarePlus)).v, x.v));
}
inline bool any(Lanes m) { return m.m != 0; }
inline std::uint64_t bits_of(Lanes m) { return m.m; }
inline Vec after(Vec x, Vec before) {
  return Vec(_mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(x.v), _mm512_castps_si512(before.v), 15)));
}
inline void pin(Vec& x) { asm("" : "+v"(x.v)); }
inline float reduce_add(Vec x) { return _mm512_reduce_add_ps(x.v); }
inline float reduce_max(Vec x) { return _mm512_reduce_max_ps(x.v); }

/// Lane 4k + i: what lanes 4k … 4k + 3 of r[i] add up to. Halves meet while they are turned: with sums_of() 30 shuffles
/// for 16 vectors, where turning first takes 64.
inline Vec fold_four(const Vec (&r)[4]) {
  const auto pairs = [](Vec a, Vec b) {
    return _mm512_add_ps(_mm512_unpacklo_ps(a.v, b.v), _mm512_unpackhi_ps(a.v, b.v));
  };
  const __m512 t = pairs(r[0], r[1]), u = pairs(r[2], r[3]);
  return Vec(_mm512_add_ps(_mm512_shuffle_ps(t, u, 0x44), _mm512_shuffle_ps(t, u, 0xee)));
}
/// Lane 4k + i: what lanes i, 4 + i, … of r[k] add up to.
inline Vec sums_of(const Vec (&r)[kLanes / 4]) {
  const auto quarters = [](__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  };
  return Vec(quarters(quarters(r[0].v, r[1].v), quarters(r[2].v, r[3].v)));
}

template <int Rows>
inline void store_fours(float* to, std::ptrdiff_t step, Vec x) {
  _mm_storeu_ps(to, _mm512_castps512_ps128(x.v));
  if constexpr (Rows > 1) _mm_storeu_ps(to + step, _mm512_extractf32x4_ps(x.v, 1));
  if constexpr (Rows > 2) _mm_storeu_ps(to + 2 * step, _mm512_extractf32x4_ps(x.v, 2));
  if constexpr (Rows > 3) _mm_storeu_ps(to + 3 * step, _mm512_extractf32x4_ps(x.v, 3));
}

/// 16 × 16: pairs of rows, pairs of pairs, then whole quarters.
inline void transpose(Vec (&r)[kLanes]) {
  __m512 t[kLanes], u[kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 4) {
    u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 a = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88), b = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88),
                 d = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xdd);
    r[i].v = _mm512_shuffle_f32x4(a, c, 0x88);
    r[i + 4].v = _mm512_shuffle_f32x4(b, d, 0x88);
    r[i + 8].v = _mm512_shuffle_f32x4(a, c, 0xdd);
    r[i + 12].v = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

/// 64-bit integers side by side; product_of_low multiplies their lower halves.
typedef std::uint64_t Words __attribute__((vector_size(64)));
inline Words product_of_low(Words a, Words b) {
  return reinterpret_cast<Words>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}

}  // namespace fovea::FOVEA_ISA
