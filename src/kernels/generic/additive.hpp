// Additive attention (Bahdanau et al. 2014, 1409.0473): v · tanh(q + k), one query against a run of keys.
#pragma once
#include "kernels/generic/math.hpp"
#include "kernels/generic/parts.hpp"

namespace fovea::FOVEA_ISA {

/// scores [n] of q [width], keys [n] rows `stride` apart, v [width].
inline void additive_scores(const float* q, const float* keys, std::ptrdiff_t stride, int n, int width, const float* v,
                            float* scores) noexcept {
  for (int j = 0; j < n; ++j, keys += stride) {
    Vec total = 0.0f;
    for_parts(width, [&](int i, int m) { total = fma(get(v + i, m), tanh(get(q + i, m) + get(keys + i, m)), total); });
    scores[j] = reduce_add(total);
  }
}

/// Adds d = dscore · v · (1 − tanh²) to dq and to the key's row of dkeys (rows as keys'), dscore · tanh to dv. The
/// hyperbolic tangents are computed again: keeping them would be [queries, keys, width].
inline void additive_backward(const float* q, const float* keys, std::ptrdiff_t stride, int n, int width,
                              const float* v, const float* dscores, float* dq, float* dkeys, float* dv) noexcept {
  for (int j = 0; j < n; ++j, keys += stride, dkeys += stride) {
    const Vec d = dscores[j];
    for_parts(width, [&](int i, int m) {
      const Vec t = tanh(get(q + i, m) + get(keys + i, m)), inner = d * get(v + i, m) * (Vec(1.0f) - t * t);
      put(dq + i, m, get(dq + i, m) + inner);
      put(dkeys + i, m, get(dkeys + i, m) + inner);
      put(dv + i, m, fma(d, t, get(dv + i, m)));
    });
  }
}

}  // namespace fovea::FOVEA_ISA
