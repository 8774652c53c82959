// Bringing the caller's strided rows of any dtype into the panels that the products read.
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

/// to [padded] = the row of x that starts at `offset`, zeros after its n numbers.
inline void copy_row(const Operand& x, std::int64_t offset, int n, bf16* to, int padded) {
  const bf16* from = static_cast<const bf16*>(x.data) + offset;
  if (x.dim == 1 && n > 0)
    __builtin_memcpy(to, from, static_cast<std::size_t>(n) * sizeof(bf16));
  else
    for (int d = 0; d < n; ++d) to[d] = from[d * x.dim];
  for (int d = n; d < padded; ++d) to[d].bits = 0;
}
constexpr bool finite(bf16 x) { return (x.bits & 0x7f80u) != 0x7f80u; }
constexpr bool finite(float x) { return x - x == 0; }

/// Asks for the row of x that starts at `offset` ahead of its use: as far as L2, so that what L1 holds stays. A hint,
/// of use where the row's numbers lie side by side.
template <int Write>
inline void prefetch_row(const Operand& x, std::int64_t offset, int n) {
  if (x.dim != 1) return;
  const std::ptrdiff_t size = size_of(x.dtype);
  const char* at = static_cast<const char*>(x.data) + offset * size;
  for (std::ptrdiff_t i = 0; i < n * size; i += 64) __builtin_prefetch(at + i, Write, 2);
  asm volatile("");  // or g++ 12 takes a function that only prefetches for one without effect, and drops the call
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

/// Whether a row of x [n] is `padded` numbers of T as it lies.
template <class T>
inline bool lies_as(const Operand& x, int n, int padded) {
  return x.dtype == dtype_of<T> && x.dim == 1 && n == padded;
}

/// Columns [first, first + kLanes) of to [words, kTileKeys] = the transpose of rows of so many words of four bytes.
template <class T>
inline void turn_rows(const T* const (&row)[kLanes], int words, float* to, int first) {
  constexpr int kNumbers = 4 / sizeof(T);  // of a word
  for (int d = 0; d < words; d += kLanes) {
    Vec square[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) __builtin_memcpy(&square[i], row[i] + d * kNumbers, sizeof square[i]);
    transpose(square);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) store(to + (d + i) * kTileKeys + first, square[i]);
  }
}

/// Columns [first, first + kLanes) of to [padded dims, kTileKeys] = the transpose of n rows of x [dims], which start at
/// the offsets `at`, zeros beyond them. `rows` [kLanes, padded dims] is scratch.
inline void pack_turned(const Operand& x, const std::int64_t* at, int n, int dims, float* rows, float* to, int first) {
  const int padded = (dims + kLanes - 1) / kLanes * kLanes;
  const bool as_they_lie = lies_as<float>(x, dims, padded);
  const float* row[kLanes];
  for (int j = 0; j < kLanes; ++j) {
    float* own = rows + j * padded;
    row[j] = as_they_lie && j < n ? static_cast<const float*>(x.data) + at[j] : own;
    if (as_they_lie && j < n) continue;
    for (int d = j < n ? dims : 0; d < padded; ++d) own[d] = 0;
    if (j < n) widen_row(x, at[j], dims, own);
  }
  turn_rows(row, padded, to, first);
}

/// Rows [first, first + kLanes) of to [kTileKeys, padded] = n rows of x [dims], which start at the offsets `at`, zeros
/// beyond them; `padded` is a multiple of kLanes. True when every number is finite.
inline bool pack_rows(const Operand& x, const std::int64_t* at, int n, int dims, int padded, float* to, int first) {
  Vec poison = 0.0f;  // x·0 is NaN for what isn't finite
  for (int j = 0; j < kLanes; ++j) {
    float* row = to + (first + j) * padded;
    for (int d = j < n ? dims : 0; d < padded; ++d) row[d] = 0;
    if (j < n) widen_row(x, at[j], dims, row);
    Vec own = 0.0f;  // each row's chain of FMAs waits for itself alone
    for (int d = 0; d < padded; d += kLanes) own = fma(load(row + d), 0.0f, own);
    poison = poison + own;
  }
  return reduce_add(poison) == 0.0f;
}

}  // namespace fovea::FOVEA_ISA
