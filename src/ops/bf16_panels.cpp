#include "ops/bf16_panels.hpp"

#include <algorithm>
#include <vector>

#include "ops/cut.hpp"

namespace fovea {
namespace {

constexpr std::int64_t kBlock = 64;  // rows and columns that are turned at a time

std::int64_t filled_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

/// Sizes of B's pairs: BF16 [panels, padded / 2, width, 2], zeros behind the last column and the depth.
struct PairSizes {
  std::int64_t width, padded, panels;
  PairSizes(const Bf16Table& by, std::int64_t depth, std::int64_t columns)
      : width(by.width), padded(filled_up(depth, by.depth_unit)), panels((columns + width - 1) / width) {}
};

/// X [rows, padded], as many rows more as the table wants: rows of a [rows, depth], or columns of a [depth, rows].
Tensor left_operand(const Bf16Table& by, const float* a, bool turned, std::int64_t rows, std::int64_t depth,
                    std::int64_t padded) {
  const std::int64_t all = filled_up(rows, by.row_unit);
  Tensor x = Tensor::unset(DType::BF16, {all, padded});
  bf16* to = x.data<bf16>();
  std::fill(to + rows * padded, to + all * padded, bf16());
  for_runs(rows, kBlock, [&](std::int64_t first, std::int64_t last) {
    const std::int64_t count = last - first;
    std::vector<float> block(static_cast<std::size_t>(turned ? count * depth : 0));  // [count, depth]
    for (std::int64_t d = 0; turned && d < depth; d += kBlock)
      active_table().turn(a + d * rows + first, rows, static_cast<int>(std::min(kBlock, depth - d)),
                          static_cast<int>(count), block.data() + d, depth);
    by.round_rows(turned ? block.data() : a + first * depth, depth, static_cast<int>(count), static_cast<int>(depth),
                  to + first * padded, static_cast<int>(padded));
  });
  return x;
}

}  // namespace

Panels pack_bf16(const Bf16Products& by, const float* b, bool turned, std::int64_t depth, std::int64_t columns) {
  const PairSizes n(*by.table, depth, columns);
  Panels panels{depth, columns, Tensor::unset(DType::BF16, {n.panels, n.padded / 2, n.width, 2}), Products::Bf16, by};
  bf16* pairs = panels.data.data<bf16>();
  const std::int64_t runs = (n.padded + kBlock - 1) / kBlock;
  parallel_for(n.panels * runs, [&](std::int64_t piece) {
    const std::int64_t p = piece / runs, first = piece % runs * kBlock, last = std::min(n.padded, first + kBlock);
    const std::int64_t there = std::max<std::int64_t>(0, std::min(depth, last) - first);  // rows of B in this piece
    const auto count = static_cast<int>(std::min(n.width, columns - p * n.width)), width = static_cast<int>(n.width);
    const float* rows = b + first * columns + p * n.width;
    float block[kBlock * kBlock];  // [64, width]
    if (turned)
      active_table().turn(b + p * n.width * depth + first, depth, count, static_cast<int>(there), block, kBlock);
    const auto row = [&](std::int64_t d) { return turned ? block + d * kBlock : rows + d * columns; };
    bf16* to = pairs + (p * n.padded + first) * n.width;
    for (std::int64_t d = 0; d < last - first; d += 2, to += 2 * n.width)
      by.table->round_pairs(row(d), d + 1 < there ? row(d + 1) : nullptr, d < there ? count : 0, to, width);
  });
  return panels;
}

void multiply_bf16(const float* a, bool turned, std::int64_t rows, const Panels& b, const float* bias, float* c) {
  constexpr std::int64_t kRun = 192;  // rows of one piece
  const Bf16Table& by = *b.by.table;
  const PairSizes n(by, b.depth, b.columns);
  const Tensor x = left_operand(by, a, turned, rows, b.depth, n.padded);
  std::vector<float> biases(static_cast<std::size_t>(n.panels * n.width));  // zeros behind it or without it
  if (bias) std::copy_n(bias, b.columns, biases.begin());
  const bf16 *left = x.data<bf16>(), *right = b.data.data<bf16>();
  const std::int64_t blocks = (rows + kRun - 1) / kRun;
  parallel_for(blocks * n.panels, [&](std::int64_t piece) {
    const std::int64_t p = piece / blocks, row = piece % blocks * kRun, column = p * n.width;
    by.linear(static_cast<int>(std::min(kRun, rows - row)), static_cast<int>(n.padded), left + row * n.padded,
              right + column * n.padded, biases.data() + column, c + row * b.columns + column, b.columns,
              static_cast<int>(std::min(n.width, b.columns - column)));
  });
}

}  // namespace fovea
