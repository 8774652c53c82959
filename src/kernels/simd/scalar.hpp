// The SIMD façade for any machine: four lanes through the compiler's vector extension, no instruction set assumed.
//
// Every façade offers the same names, so that kernels are written once:
//   Vec (kLanes floats), Lanes (one bit a lane), load/store (any alignment, f32/bf16/f16), fma, sqrt, max/min, select,
//   round_to_int, scale_by_power_of_two, the parts of exp2, reduce_max/reduce_add, any, bits_of, after, transpose,
//   lanes_of(bits), Words.
//   max(a, b) and min(a, b) return b when either is NaN.
#pragma once
#include <cstdint>

#include <fovea/dtype.hpp>

#include "kernels/simd/powers.hpp"

namespace fovea::FOVEA_ISA {

inline constexpr int kLanes = 4;
inline constexpr int kTileRows = 4, kTileVecs = 2;  // register tile of the matrix product: 8 accumulators

typedef float Floats __attribute__((vector_size(16)));
typedef std::int32_t Ints __attribute__((vector_size(16)));

struct Vec {
  Floats v;
  Vec() = default;
  Vec(float x) : v{x, x, x, x} {}
  explicit Vec(Floats x) : v(x) {}
};
struct Lanes {
  Ints m;
};  // −1 or 0 a lane

inline Vec load(const float* p) {
  Vec x;
  __builtin_memcpy(&x.v, p, sizeof x.v);
  return x;
}
inline void store(float* p, Vec x) { __builtin_memcpy(p, &x.v, sizeof x.v); }
inline Vec load(const bf16* p) { return Vec(Floats{float(p[0]), float(p[1]), float(p[2]), float(p[3])}); }
inline Vec load(const f16* p) { return Vec(Floats{float(p[0]), float(p[1]), float(p[2]), float(p[3])}); }
inline void store(bf16* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) p[i] = bf16(x.v[i]);
}
inline void store(f16* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) p[i] = f16(x.v[i]);
}

inline Vec operator+(Vec a, Vec b) { return Vec(a.v + b.v); }
inline Vec operator-(Vec a, Vec b) { return Vec(a.v - b.v); }
inline Vec operator*(Vec a, Vec b) { return Vec(a.v * b.v); }
inline Vec operator/(Vec a, Vec b) { return Vec(a.v / b.v); }
inline Vec fma(Vec a, Vec b, Vec c) { return Vec(a.v * b.v + c.v); }
inline Vec sqrt(Vec x) {
  for (int i = 0; i < kLanes; ++i) x.v[i] = __builtin_sqrtf(x.v[i]);
  return x;
}
inline Vec max(Vec a, Vec b) { return Vec(a.v > b.v ? a.v : b.v); }
inline Vec min(Vec a, Vec b) { return Vec(a.v < b.v ? a.v : b.v); }
inline Lanes operator<(Vec a, Vec b) { return {a.v < b.v}; }
inline Vec select(Lanes m, Vec a, Vec b) { return Vec(m.m ? a.v : b.v); }
inline Lanes lanes_of(std::uint64_t bits) {
  const auto b = static_cast<std::int32_t>(bits & 15);
  return {Ints{-(b & 1), -(b >> 1 & 1), -(b >> 2 & 1), -(b >> 3 & 1)}};
}
/// To the nearest integer, ties to even; |x| < 2^22.
inline Vec round_to_int(Vec x) {
  const Floats magic = Vec(12582912.f).v;  // 1.5 · 2^23: the sum has no room for a fraction
  return Vec((x.v + magic) - magic);
}
/// x · 2^n for integral n in [−126, 127].
inline Vec scale_by_power_of_two(Vec x, Vec n) {
  const Ints power = (__builtin_convertvector(n.v, Ints) + 127) << 23;
  Floats factor;
  __builtin_memcpy(&factor, &power, sizeof factor);
  return Vec(x.v * factor);
}
/// 2^x for x ≤ 127, exactly 1 at 0 and exactly 0 below −127 (−∞ included); NaN stays NaN. Relative error ≤ 1.3e-7 (of
/// AVX-512 2.5e-7): a power from a table, times a polynomial in what is left of x; lookups, additions and scaling have
/// ports that products leave idle.
inline Vec exp2(Vec x) {
  const Floats y = max(-127.0f, x).v, magic = Vec(1572864.f).v;  // 1.5 · 2^20: the sum has room for eighths
  const Floats eighths = y + magic;
  typedef std::uint32_t Bits __attribute__((vector_size(16)));
  Bits bits;
  __builtin_memcpy(&bits, &eighths, sizeof bits);
  const auto of = [&](int lane) { return static_cast<std::uint32_t>(kEighths.bits[bits[lane] & 7]); };
  bits = Bits{of(0), of(1), of(2), of(3)} + (bits << kEighthsPlace);
  Vec power;
  __builtin_memcpy(&power.v, &bits, sizeof bits);
  const Vec rest(y - (eighths - magic));
  return fma(power * rest, fma(fma(kCubic[2], rest, kCubic[1]), rest, kCubic[0]), power);
}
inline bool any(Lanes m) { return (m.m[0] | m.m[1] | m.m[2] | m.m[3]) != 0; }
inline std::uint64_t bits_of(Lanes m) {
  return static_cast<std::uint64_t>((m.m[0] & 1) | (m.m[1] & 2) | (m.m[2] & 4) | (m.m[3] & 8));
}
/// Lane i: lane i − 1 of x; of lane 0, the last of `before`.
inline Vec after(Vec x, Vec before) { return Vec(Floats{before.v[3], x.v[0], x.v[1], x.v[2]}); }
/// x is computed by now, not where the compiler would rather have it.
inline void pin(Vec&) {}
inline float reduce_add(Vec x) { return (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]); }
inline float reduce_max(Vec x) {
  const float a = x.v[0] > x.v[2] ? x.v[0] : x.v[2], b = x.v[1] > x.v[3] ? x.v[1] : x.v[3];
  return a > b ? a : b;
}

/// Lane 4k + i: what lanes 4k … 4k + 3 of r[i] add up to; then what lanes i, 4 + i, … of r[k] do.
inline Vec fold_four(const Vec (&r)[4]) {
  return Vec(Floats{reduce_add(r[0]), reduce_add(r[1]), reduce_add(r[2]), reduce_add(r[3])});
}
inline Vec sums_of(const Vec (&r)[kLanes / 4]) { return r[0]; }
/// The i-th four lanes of x to to + i · step, of the first Rows.
template <int Rows>
inline void store_fours(float* to, std::ptrdiff_t, Vec x) {
  store(to, x);
}

/// r [kLanes, kLanes], in place.
inline void transpose(Vec (&r)[kLanes]) {
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < i; ++j) {
      const float x = r[i].v[j];
      r[i].v[j] = r[j].v[i];
      r[j].v[i] = x;
    }
}

/// 64-bit integers side by side; product_of_low multiplies their lower halves.
typedef std::uint64_t Words __attribute__((vector_size(16)));
inline Words product_of_low(Words a, Words b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }

}  // namespace fovea::FOVEA_ISA
