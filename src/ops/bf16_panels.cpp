#include "ops/bf16_panels.hpp"

#include <algorithm>
#include <vector>

#include "ops/cut.hpp"
#include "ops/panel_walk.hpp"

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

/// Rows [first, last) of X, as many more as the table wants, and of them a run of the depth: of a [rows, depth], or of
/// columns of a [depth, rows]. to [last − first, stride], zeros behind the depth and the rows.
void round_block(const Bf16Table& by, const float* a, bool turned, std::int64_t rows, std::int64_t depth,
                 std::int64_t first, std::int64_t last, DepthRun run, bf16* to, std::int64_t stride) {
  const std::int64_t there = std::min<std::int64_t>(depth, run.end) - run.begin;
  std::fill(to + (last - first) * stride, to + filled_up(last - first, by.row_unit) * stride, bf16());
  for_runs(last - first, kBlock, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    std::vector<float> block(static_cast<std::size_t>(turned ? count * there : 0));  // [count, there]
    for (std::int64_t d = 0; turned && d < there; d += kBlock)
      active_table().turn(a + (run.begin + d) * rows + first + begin, rows,
                          static_cast<int>(std::min(kBlock, there - d)), static_cast<int>(count), block.data() + d,
                          there);
    by.round_rows(turned ? block.data() : a + (first + begin) * depth + run.begin, turned ? there : depth,
                  static_cast<int>(count), static_cast<int>(there), to + begin * stride, static_cast<int>(stride));
  });
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
  const Bf16Table& by = *b.by.table;
  const PairSizes n(by, b.depth, b.columns);
  std::vector<float> biases(static_cast<std::size_t>(n.panels * n.width));  // zeros behind it or without it
  if (bias) std::copy_n(bias, b.columns, biases.begin());
  const PanelWalk<bf16> walk{rows, b.data.data<bf16>(), n.panels, n.padded, n.width};
  Tensor rounded = Tensor::unset(DType::BF16, {filled_up(walk.block_rows(), by.row_unit), walk.stride()});
  const auto near = [&](std::int64_t first, std::int64_t last, DepthRun run) {
    round_block(by, a, turned, rows, b.depth, first, last, run, rounded.data<bf16>(), walk.stride());
    return NearRows<bf16>{rounded.data<bf16>(), walk.stride()};
  };
  walk(near,
       [&](int count, DepthRun run, NearRows<bf16> x, const bf16* panel, std::int64_t p, std::int64_t row, MemoryRun) {
         const std::int64_t column = p * n.width;
         by.linear(count, run, x.at, x.stride, panel, biases.data() + column, c + row * b.columns + column, b.columns,
                   static_cast<int>(std::min(n.width, b.columns - column)));
       });
}

}  // namespace fovea
