// Pairs of bf16 and their dot products, emulated beside any façade, so that what is made of them is tested on every
// machine. A product of two bf16 is exact in a float, so every sum rounds as the instruction's does.
#pragma once
#include <fovea/dtype.hpp>

namespace fovea::FOVEA_ISA {

struct Pairs {
  Vec first, second;
};
inline Pairs load_pairs(const bf16* p) {
  float first[kLanes], second[kLanes];
  for (int i = 0; i < kLanes; ++i) first[i] = p[2 * i], second[i] = p[2 * i + 1];
  return {load(first), load(second)};
}
inline Pairs broadcast_pair(const bf16* p) { return {Vec(float(p[0])), Vec(float(p[1]))}; }
inline Vec dot(Vec sum, Pairs a, Pairs b) { return fma(a.first, b.first, fma(a.second, b.second, sum)); }

}  // namespace fovea::FOVEA_ISA
