// How operators cut their loops: by size alone, so that results have the same bits for any number of threads.
#pragma once
#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include <fovea/tensor.hpp>
#include <fovea/threads.hpp>

#include "kernels/registry.hpp"

namespace fovea {

inline constexpr std::int64_t kElementsAtOnce = 1 << 14;  // of one piece of element-wise work: some µs

/// body(first, last) for the runs of up to `run` that make up [0, n), in parallel.
template <class F>
void for_runs(std::int64_t n, std::int64_t run, const F& body) {
  parallel_for((n + run - 1) / run, [&](std::int64_t i) { body(i * run, std::min(n, (i + 1) * run)); });
}

/// The same for rows of `width` elements.
template <class F>
void for_rows(std::int64_t rows, std::int64_t width, const F& body) {
  for_runs(rows, std::max<std::int64_t>(1, kElementsAtOnce / std::max<std::int64_t>(1, width)), body);
}

/// sums [width] of a loop over rows that adds to them: body(first, last, sums). Runs have sums of their own, added up
/// in order.
template <class T, class F>
void sum_rows(std::int64_t rows, std::int64_t width, T* sums, const F& body) {
  constexpr std::int64_t kRows = 64;
  const std::int64_t runs = (rows + kRows - 1) / kRows;
  Tensor parts(dtype_of<T>, {runs, width});
  T* part = parts.template data<T>();
  for_runs(rows, kRows,
           [&](std::int64_t first, std::int64_t last) { body(first, last, part + first / kRows * width); });
  for (std::int64_t r = 0; r < runs; ++r)
    for (std::int64_t i = 0; i < width; ++i) sums[i] += part[r * width + i];
}

/// sum [width] += each row of from [rows, width].
inline void add_rows(const float* from, std::int64_t rows, std::int64_t width, float* sum) {
  const KernelTable& kernels = active_table();
  for (std::int64_t r = 0; r < rows; ++r) kernels.add(from + r * width, sum, width);
}
inline void add_rows(const double* from, std::int64_t rows, std::int64_t width, double* sum) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < width; ++i) sum[i] += from[r * width + i];
}

/// sums [width] += all rows of from [rows, width].
template <class T>
void sum_all_rows(const T* from, std::int64_t rows, std::int64_t width, T* sums) {
  sum_rows(rows, width, sums, [&](std::int64_t first, std::int64_t last, T* part) {
    add_rows(from + first * width, last - first, width, part);
  });
}

/// f(float()) or f(double()), by the tensor's dtype; Error for any other.
template <class F>
auto by_precision(const char* op, const Tensor& x, const F& f) {
  if (x.dtype() == DType::F32) return f(float());
  if (x.dtype() == DType::F64) return f(double());
  throw Error(fmt::format("{}: a tensor is {}; expected F32 or F64, convert with Tensor::to", op, x.view().str()));
}

/// Error unless `t`, which `name` calls, has this dtype and shape.
inline void check_like(const char* op, const char* name, const Tensor& t, DType dtype, const Shape& shape) {
  if (t.dtype() == dtype && t.shape() == shape) return;
  throw Error(fmt::format("{}: {} is {}; expected {} {}", op, name, t.view().str(), name_of(dtype), shape.str()));
}

}  // namespace fovea
