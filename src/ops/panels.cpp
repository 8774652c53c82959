#include "ops/panels.hpp"

#include <cstring>
#include <vector>

#include "kernels/registry.hpp"
#include "ops/bf16_panels.hpp"
#include "ops/cut.hpp"
#include "ops/panel_walk.hpp"

namespace fovea {
namespace {

constexpr std::int64_t kWidth = Panels::kWidth;

/// to [columns, rows], rows `to_stride` apart, of from [rows, columns], rows `from_stride` apart.
void turn(const float* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns, float* to,
          std::int64_t to_stride) {
  active_table().turn(from, from_stride, static_cast<int>(rows), static_cast<int>(columns), to, to_stride);
}
void turn(const double* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns, double* to,
          std::int64_t to_stride) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
}

/// from [rows, columns] turned, [columns, rows].
template <class T>
Tensor transposed(const T* from, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kRows = 64;  // whole cache lines are written
  const std::int64_t run = std::max(kRows, kElementsAtOnce / std::max<std::int64_t>(1, columns) / kRows * kRows);
  Tensor to = Tensor::unset(dtype_of<T>, {columns, rows});
  T* data = to.template data<T>();
  for_runs(rows, run, [&](std::int64_t first, std::int64_t last) {
    turn(from + first * columns, columns, last - first, columns, data + first, rows);
  });
  return to;
}

/// What numbers become in Products::Bf16 where the machine has no such products.
Tensor rounded(const float* x, std::int64_t n) {
  Tensor to = Tensor::unset(DType::F32, {n});
  float* data = to.data<float>();
  for_runs(n, kElementsAtOnce, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) data[i] = static_cast<float>(bf16(x[i]));
  });
  return to;
}

/// `packed` of numbers that were rounded.
Panels of_rounded(Panels packed) {
  packed.products = Products::Bf16;
  return packed;
}

Panels empty_panels(std::int64_t depth, std::int64_t columns) {
  Panels b{depth, columns, {}, {}, {}};
  const Shape shape{b.count(), depth, kWidth};
  b.data = columns % kWidth == 0 ? Tensor::unset(DType::F32, shape) : Tensor(DType::F32, shape);
  return b;
}

/// to [rows, n] = from [rows, n], the next row's lines asked for meanwhile: no prefetcher follows from page to page.
void copy_rows(const float* from, std::int64_t from_stride, std::int64_t rows, std::int64_t n, float* to,
               std::int64_t to_stride) {
  constexpr std::int64_t kAtOnce = 128, kLine = 16;
  for (std::int64_t r = 0; r < rows; ++r, from += from_stride, to += to_stride)
    for (std::int64_t i = 0; i < n; i += kAtOnce) {
      const std::int64_t count = std::min(kAtOnce, n - i);
      for (std::int64_t j = 0; j < count && r + 1 < rows; j += kLine) __builtin_prefetch(from + from_stride + i + j);
      std::copy_n(from + i, count, to + i);
    }
}

}  // namespace

Panels pack(const float* b, std::int64_t depth, std::int64_t columns, Products products) {
  if (products == Products::Bf16) {
    const Bf16Products by = active_bf16_products();
    return by.table ? pack_bf16(by, b, false, depth, columns)
                    : of_rounded(pack(rounded(b, depth * columns).data<float>(), depth, columns));
  }
  Panels panels = empty_panels(depth, columns);
  float* to = panels.data.data<float>();
  for_rows(depth, columns, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t p = 0; p < panels.count(); ++p) {
      const auto bytes = static_cast<std::size_t>(std::min(kWidth, columns - p * kWidth)) * sizeof(float);
      for (std::int64_t d = first; d < last; ++d)
        std::memcpy(to + (p * depth + d) * kWidth, b + d * columns + p * kWidth, bytes);
    }
  });
  return panels;
}

Panels pack_turned(const float* w, std::int64_t columns, std::int64_t depth, Products products) {
  if (products == Products::Bf16) {
    const Bf16Products by = active_bf16_products();
    return by.table ? pack_bf16(by, w, true, depth, columns)
                    : of_rounded(pack_turned(rounded(w, depth * columns).data<float>(), columns, depth));
  }
  Panels panels = empty_panels(depth, columns);
  float* to = panels.data.data<float>();
  constexpr std::int64_t kDepth = 256;  // of one piece
  const std::int64_t runs = (depth + kDepth - 1) / kDepth;
  parallel_for(panels.count() * runs, [&](std::int64_t piece) {
    const std::int64_t p = piece / runs, d = piece % runs * kDepth;
    turn(w + p * kWidth * depth + d, depth, std::min(kWidth, columns - p * kWidth), std::min(kDepth, depth - d),
         to + (p * depth + d) * kWidth, kWidth);
  });
  return panels;
}

Panels pack(const double* b, std::int64_t depth, std::int64_t columns, Products) {
  Panels panels{depth, columns, Tensor(DType::F64, {depth, columns}), {}, {}};
  std::copy_n(b, depth * columns, panels.data.data<double>());
  return panels;
}

Panels pack_turned(const double* w, std::int64_t columns, std::int64_t depth, Products) {
  return {depth, columns, transposed(w, columns, depth), {}, {}};
}

Tensor unpack_turned(const Panels& b) {
  Tensor w(DType::F32, {b.columns, b.depth});
  float* to = w.data<float>();
  parallel_for(b.count(), [&](std::int64_t p) {
    turn(b.panel(p), kWidth, b.depth, std::min(kWidth, b.columns - p * kWidth), to + p * kWidth * b.depth, b.depth);
  });
  return w;
}

void multiply(const float* a, std::int64_t rows, const Panels& b, const float* bias, float* c) {
  if (b.by.table) return multiply_bf16(a, false, rows, b, bias, c);
  const Tensor left = b.products == Products::Bf16 ? rounded(a, rows * b.depth) : Tensor();
  if (!left.empty()) a = left.data<float>();
  std::vector<float> padded(static_cast<std::size_t>(b.count() * kWidth));  // the bias, zeros beyond it or without it
  if (bias) std::copy_n(bias, b.columns, padded.begin());
  const PanelWalk<float> walk{rows, b.data.data<float>(), b.count(), b.depth, kWidth};
  Tensor copy = walk.whole() ? Tensor() : Tensor::unset(DType::F32, {walk.block_rows(), walk.stride()});
  const auto near = [&](std::int64_t first, std::int64_t last, DepthRun run) {
    const float* from = a + first * b.depth + run.begin;
    if (walk.whole()) return NearRows<float>{from, b.depth};
    float* to = copy.data<float>();
    for_rows(last - first, run.size(), [&](std::int64_t begin, std::int64_t end) {
      copy_rows(from + begin * b.depth, b.depth, end - begin, run.size(), to + begin * walk.stride(), walk.stride());
    });
    return NearRows<float>{to, walk.stride()};
  };
  const KernelTable& kernels = active_table();
  walk(near, [&](int count, DepthRun run, NearRows<float> x, const float* panel, std::int64_t p, std::int64_t row,
                 MemoryRun next) {
    const std::int64_t column = p * kWidth;
    kernels.linear(count, run, x.at, x.stride, panel, padded.data() + column, c + row * b.columns + column, b.columns,
                   static_cast<int>(std::min(kWidth, b.columns - column)), next);
  });
}

void multiply(const double* a, std::int64_t rows, const Panels& b, const double* bias, double* c) {
  const double* right = b.data.data<double>();
  for (std::int64_t r = 0; r < rows; ++r, c += b.columns) {
    for (std::int64_t j = 0; j < b.columns; ++j) c[j] = bias ? bias[j] : 0;
    for (std::int64_t d = 0; d < b.depth; ++d)
      for (std::int64_t j = 0; j < b.columns; ++j) c[j] += a[r * b.depth + d] * right[d * b.columns + j];
  }
}

void multiply_turned(const float* a, const float* b, std::int64_t rows, std::int64_t depth, std::int64_t columns,
                     float* c, Products products) {
  if (products == Products::Bf16) {
    const Bf16Products by = active_bf16_products();
    if (by.table) return multiply_bf16(a, true, depth, pack_bf16(by, b, false, rows, columns), nullptr, c);
    return multiply_turned(rounded(a, rows * depth).data<float>(), rounded(b, rows * columns).data<float>(), rows,
                           depth, columns, c);
  }
  constexpr std::int64_t kRun = 192;  // rows of C at once
  const KernelTable& kernels = active_table();
  const std::int64_t runs = (depth + kRun - 1) / kRun;
  const std::int64_t wide = runs > 4 ? columns : kWidth;  // columns at once: enough pieces, and a read seldom
  parallel_for(runs * ((columns + wide - 1) / wide), [&](std::int64_t piece) {
    const std::int64_t column = piece / runs * wide, row = piece % runs * kRun;
    kernels.linear_turned(static_cast<int>(rows), static_cast<int>(std::min(kRun, depth - row)), a + row, depth,
                          b + column, columns, c + row * columns + column, columns,
                          static_cast<int>(std::min(wide, columns - column)));
  });
}
void multiply_turned(const double* a, const double* b, std::int64_t rows, std::int64_t depth, std::int64_t columns,
                     double* c, Products) {
  multiply(transposed(a, rows, depth).data<double>(), depth, pack(b, rows, columns), nullptr, c);
}

}  // namespace fovea
