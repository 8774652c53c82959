// The SIMD façade for AVX2 + FMA + F16C: eight lanes. Names and meaning as in scalar.hpp.
#pragma once
#include <cstdint>
#include <immintrin.h>

#include <fovea/dtype.hpp>

#include "kernels/simd/powers.hpp"

namespace fovea::avx2 {

inline constexpr int kLanes = 8;
inline constexpr int kTileRows = 6, kTileVecs = 2;  // 12 accumulators + 2 of B + 1 of A = 15 of 16 registers

struct Vec {
  __m256 v;
  Vec() = default;
  Vec(float x) : v(_mm256_set1_ps(x)) {}
  explicit Vec(__m256 x) : v(x) {}
};
struct Lanes {
  __m256 m;
};

inline Vec load(const float* p) { return Vec(_mm256_loadu_ps(p)); }
inline void store(float* p, Vec x) { _mm256_storeu_ps(p, x.v); }
inline Vec load(const bf16* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return Vec(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
}
inline Vec load(const f16* p) { return Vec(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))); }
inline void store(f16* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline void store(bf16* p, Vec x) {
  float lanes[kLanes];
  store(lanes, x);
  for (int i = 0; i < kLanes; ++i) p[i] = bf16(lanes[i]);
}

inline Vec operator+(Vec a, Vec b) { return Vec(_mm256_add_ps(a.v, b.v)); }
inline Vec operator-(Vec a, Vec b) { return Vec(_mm256_sub_ps(a.v, b.v)); }
inline Vec operator*(Vec a, Vec b) { return Vec(_mm256_mul_ps(a.v, b.v)); }
inline Vec operator/(Vec a, Vec b) { return Vec(_mm256_div_ps(a.v, b.v)); }
inline Vec fma(Vec a, Vec b, Vec c) { return Vec(_mm256_fmadd_ps(a.v, b.v, c.v)); }
inline Vec sqrt(Vec x) { return Vec(_mm256_sqrt_ps(x.v)); }
inline Vec max(Vec a, Vec b) { return Vec(_mm256_max_ps(a.v, b.v)); }
inline Vec min(Vec a, Vec b) { return Vec(_mm256_min_ps(a.v, b.v)); }
inline Lanes operator<(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Vec select(Lanes m, Vec a, Vec b) { return Vec(_mm256_blendv_ps(b.v, a.v, m.m)); }
inline Lanes lanes_of(std::uint64_t bits) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i all = _mm256_set1_epi32(static_cast<int>(bits & 255));
  return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit))};
}
inline Vec round_to_int(Vec x) { return Vec(_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
inline Vec scale_by_power_of_two(Vec x, Vec n) {
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23);
  return Vec(_mm256_mul_ps(x.v, _mm256_castsi256_ps(power)));
}
/// Four slots of the FMA ports, and a part of the lookup.
inline Vec exp2(Vec x) {
  const Vec y = max(-127.0f, x), magic = 1572864.f;  // 1.5 · 2^20: the sum has room for eighths
  const Vec eighths = y + magic, rest = y - (eighths - magic);
  const __m256i bits = _mm256_castps_si256(eighths.v);
  const __m256i table = _mm256_load_si256(reinterpret_cast<const __m256i*>(kEighths.bits));
  const Vec power(_mm256_castsi256_ps(
      _mm256_add_epi32(_mm256_permutevar8x32_epi32(table, bits), _mm256_slli_epi32(bits, kEighthsPlace))));
  return fma(power * rest, fma(fma(kCubic[2], rest, kCubic[1]), rest, kCubic[0]), power);
}
inline bool any(Lanes m) { return _mm256_movemask_ps(m.m) != 0; }
inline std::uint64_t bits_of(Lanes m) { return static_cast<std::uint64_t>(_mm256_movemask_ps(m.m)); }
inline Vec after(Vec x, Vec before) {
  const __m256i halves = _mm256_castps_si256(_mm256_permute2f128_ps(before.v, x.v, 0x21));  // before's upper, x's lower
  return Vec(_mm256_castsi256_ps(_mm256_alignr_epi8(_mm256_castps_si256(x.v), halves, 12)));
}
inline void pin(Vec& x) { asm("" : "+x"(x.v)); }
inline float reduce_add(Vec x) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float reduce_max(Vec x) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(x.v), _mm256_extractf128_ps(x.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/// Lane 4k + i: what lanes 4k … 4k + 3 of r[i] add up to.
inline Vec fold_four(const Vec (&r)[4]) {
  const auto pairs = [](Vec a, Vec b) {
    return _mm256_add_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v));
  };
  const __m256 t = pairs(r[0], r[1]), u = pairs(r[2], r[3]);
  return Vec(_mm256_add_ps(_mm256_shuffle_ps(t, u, 0x44), _mm256_shuffle_ps(t, u, 0xee)));
}
/// Lane 4k + i: what lanes i and 4 + i of r[k] add up to.
inline Vec sums_of(const Vec (&r)[kLanes / 4]) {
  return Vec(_mm256_add_ps(_mm256_permute2f128_ps(r[0].v, r[1].v, 0x20), _mm256_permute2f128_ps(r[0].v, r[1].v, 0x31)));
}

template <int Rows>
inline void store_fours(float* to, std::ptrdiff_t step, Vec x) {
  _mm_storeu_ps(to, _mm256_castps256_ps128(x.v));
  if constexpr (Rows > 1) _mm_storeu_ps(to + step, _mm256_extractf128_ps(x.v, 1));
}

/// 8 × 8: pairs of rows, pairs of pairs, then halves.
inline void transpose(Vec (&r)[kLanes]) {
  __m256 t[kLanes], u[kLanes];
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 2
  for (int i = 0; i < kLanes; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

typedef std::uint64_t Words __attribute__((vector_size(32)));
inline Words product_of_low(Words a, Words b) {
  return reinterpret_cast<Words>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}

}  // namespace fovea::avx2
