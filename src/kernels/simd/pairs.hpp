// Pairs of bf16 and their dot products, by the instruction (AVX512-BF16): beside the façade of AVX-512.
//
// Names and meaning, as in pairs_emulated.hpp: Pairs (kLanes pairs), load_pairs, store, broadcast_pair, firsts(p):
// pairs of kLanes numbers and zeros, with_seconds(x, p): numbers in place of the zeros, dot(sum, a, b): each lane of
// sum gains the product of the pair's second numbers, then that of its first, each rounded once (denormals count as 0
// on either side); store_rounded(to, x): kLanes numbers, or two vectors of them; store_rounded_pairs(to, first,
// second): kLanes pairs of a number of either.
#pragma once
#include <cstdint>
#include <immintrin.h>

#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

struct Pairs {
  __m512bh v;
};
inline Pairs load_pairs(const bf16* p) { return {reinterpret_cast<__m512bh>(_mm512_loadu_si512(p))}; }
inline void store(bf16* p, Pairs x) { _mm512_storeu_si512(p, reinterpret_cast<__m512i>(x.v)); }
inline Pairs broadcast_pair(const bf16* p) {
  std::int32_t pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  return {reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair))};
}
inline Pairs firsts(const bf16* p) {
  return {reinterpret_cast<__m512bh>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))))};
}
inline Pairs with_seconds(Pairs x, const bf16* p) {
  const __m512i seconds = _mm512_slli_epi32(reinterpret_cast<__m512i>(firsts(p).v), 16);
  return {reinterpret_cast<__m512bh>(_mm512_or_si512(reinterpret_cast<__m512i>(x.v), seconds))};
}
/// x [2]: 2 · kLanes numbers of one row beside those of another, in an order of the instruction's own (two instructions
/// instead of eight); sums of them are brought into memory's by order_columns().
inline void pair_columns(const bf16* even, const bf16* odd, Pairs* x) {
  const __m512i a = _mm512_loadu_si512(even), b = _mm512_loadu_si512(odd);
  x[0].v = reinterpret_cast<__m512bh>(_mm512_unpacklo_epi16(a, b));  // of every 8 columns the first 4
  x[1].v = reinterpret_cast<__m512bh>(_mm512_unpackhi_epi16(a, b));
}
inline void order_columns(Vec* sum) {
  constexpr int kMiddle = 0xd8;  // 0 2 1 3
  const __m512 low = sum[0].v, high = sum[1].v;
  const __m512 first = _mm512_shuffle_f32x4(low, high, 0x44), second = _mm512_shuffle_f32x4(low, high, 0xee);
  sum[0].v = _mm512_shuffle_f32x4(first, first, kMiddle), sum[1].v = _mm512_shuffle_f32x4(second, second, kMiddle);
}
inline void store_rounded(bf16* to, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)));
}
inline void store_rounded(bf16* to, Vec first, Vec second) {
  _mm512_storeu_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second.v, first.v)));
}
inline void store_rounded_pairs(bf16* to, Vec first, Vec second) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i pairs = _mm512_or_si512(lanes, _mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(16)), 16));
  const __m512i numbers = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second.v, first.v));  // all first, all second
  _mm512_storeu_si512(to, _mm512_permutexvar_epi16(pairs, numbers));
}
inline Vec dot(Vec sum, Pairs a, Pairs b) { return Vec(_mm512_dpbf16_ps(sum.v, a.v, b.v)); }

}  // namespace fovea::FOVEA_ISA
