// Pairs of bf16 and their dot products, emulated beside any façade, so that what is made of them is tested on every
// machine. A product of two bf16 is exact in a float, so every sum rounds as the instruction's does.
#pragma once
#include <cstdint>

#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

struct Pairs {
  Vec first, second;
};
typedef std::uint32_t PairInLane __attribute__((vector_size(4 * kLanes)));  // its first number below
inline Pairs widened(PairInLane both) {
  const PairInLane first = both << 16, second = both & 0xffff0000u;
  Pairs x;
  __builtin_memcpy(&x.first.v, &first, sizeof first);
  __builtin_memcpy(&x.second.v, &second, sizeof second);
  return x;
}
inline Pairs load_pairs(const bf16* p) {
  PairInLane both;
  __builtin_memcpy(&both, p, sizeof both);
  return widened(both);
}
inline void store(bf16* p, Pairs x) {
  bf16 first[kLanes], second[kLanes];
  store(first, x.first), store(second, x.second);
  for (int i = 0; i < kLanes; ++i) p[2 * i] = first[i], p[2 * i + 1] = second[i];
}
inline Pairs broadcast_pair(const bf16* p) {
  std::uint32_t pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  return widened(pair - PairInLane{});
}
inline Pairs firsts(const bf16* p) { return {load(p), 0.0f}; }
inline Pairs with_seconds(Pairs x, const bf16* p) { return {x.first, load(p)}; }
inline void pair_columns(const bf16* even, const bf16* odd, Pairs* x) {  // in an order of its own too: the second first
  for (int i = 0; i < 2; ++i) x[1 - i] = {load(even + i * kLanes), load(odd + i * kLanes)};
}
inline void order_columns(Vec* sum) {
  const Vec second = sum[0];
  sum[0] = sum[1], sum[1] = second;
}
inline void store_rounded(bf16* to, Vec x) { store(to, x); }
inline void store_rounded(bf16* to, Vec first, Vec second) { store(to, first), store(to + kLanes, second); }
inline void store_rounded_pairs(bf16* to, Vec first, Vec second) { store(to, Pairs{first, second}); }
inline Vec dot(Vec sum, Pairs a, Pairs b) { return fma(a.first, b.first, fma(a.second, b.second, sum)); }

}  // namespace fovea::FOVEA_ISA
