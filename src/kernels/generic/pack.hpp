// Bringing the caller's strided rows of any dtype into the f32 panels that the products read.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/problem.hpp"

namespace fovea::FOVEA_ISA {

template <class T>
inline void widen_typed(const T* from, std::int64_t stride, int n, float* to) {
  int d = 0;
  if (stride == 1)
    for (; d + kLanes <= n; d += kLanes) store(to + d, load(from + d));
  for (; d < n; ++d) to[d] = static_cast<float>(from[d * stride]);
}

/// to [n] = the row of x that starts at `offset`, as f32.
inline void widen_row(const Operand& x, std::int64_t offset, int n, float* to) {
  switch (x.dtype) {
    case DType::F32:
      return widen_typed(static_cast<const float*>(x.data) + offset, x.dim, n, to);
    case DType::BF16:
      return widen_typed(static_cast<const bf16*>(x.data) + offset, x.dim, n, to);
    case DType::F16:
      return widen_typed(static_cast<const f16*>(x.data) + offset, x.dim, n, to);
    default:
      return;  // refused before
  }
}

template <class T>
inline void narrow_typed(const float* from, float factor, int n, T* to, std::int64_t stride) {
  int d = 0;
  if (stride == 1)
    for (; d + kLanes <= n; d += kLanes) store(to + d, load(from + d) * factor);
  for (; d < n; ++d) to[d * stride] = static_cast<T>(from[d] * factor);
}

/// The row of x that starts at `offset` = from [n] · factor, rounded once to x's dtype.
inline void narrow_row(const float* from, float factor, int n, const Operand& x, std::int64_t offset) {
  switch (x.dtype) {
    case DType::F32:
      return narrow_typed(from, factor, n, static_cast<float*>(x.data) + offset, x.dim);
    case DType::BF16:
      return narrow_typed(from, factor, n, static_cast<bf16*>(x.data) + offset, x.dim);
    case DType::F16:
      return narrow_typed(from, factor, n, static_cast<f16*>(x.data) + offset, x.dim);
    default:
      return;
  }
}

/// to [head_dim, kTileKeys] = the transpose of keys [first, first + n), zeros beyond. `rows` [kTileKeys, head_dim] is
/// scratch.
inline void pack_keys(const Problem& p, int batch, int kv_head, int first, int n, float* rows, float* to) {
  const int dims = p.head_dim;
  for (int j = 0; j < n; ++j) widen_row(p.k, p.k_offset(batch, kv_head, first + j), dims, rows + j * dims);
  for (int j = n * dims; j < kTileKeys * dims; ++j) rows[j] = 0;
  // Blocks of 16 × 16: reads touch 16 lines, writes fill whole lines.
  for (int j0 = 0; j0 < kTileKeys; j0 += 16)
    for (int d0 = 0; d0 < dims; d0 += 16)
      for (int d = d0; d < (d0 + 16 < dims ? d0 + 16 : dims); ++d)
        for (int j = j0; j < j0 + 16; ++j) to[d * kTileKeys + j] = rows[j * dims + d];
}

/// to [kTileKeys, padded] = values [first, first + n), zeros beyond. True when every number is finite.
inline bool pack_values(const Problem& p, int batch, int kv_head, int first, int n, int padded, float* to) {
  Vec poison = 0.0f;  // x·0 is NaN for what isn't finite
  for (int j = 0; j < n; ++j) {
    float* row = to + j * padded;
    for (int d = p.value_dim; d < padded; ++d) row[d] = 0;
    widen_row(p.v, p.v_offset(batch, kv_head, first + j), p.value_dim, row);
    for (int d = 0; d < padded; d += kLanes) poison = fma(load(row + d), 0.0f, poison);
  }
  for (int i = n * padded; i < kTileKeys * padded; ++i) to[i] = 0;
  return reduce_add(poison) == 0.0f;
}

}  // namespace fovea::FOVEA_ISA
