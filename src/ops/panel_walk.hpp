// The walk of rows past packed panels, which products in f32 and in bf16 share.
//
// A block of rows meets a run of the depth of one panel after another. A panel's run (256 KB, of bf16 512) stays in L2
// while the block's rows go by, those stay in L3 until the last panel has met them, and y holds sums between runs. Cut
// like that, 4,096 × 4,096 × 1,024 rose from 83 to 89% of the ceiling in f32, from 72 to 89% in bf16. The other way
// round, rows kept in L2 while panels go by, it gained nothing: for 16 numbers of the depth a register tile reads 64
// lines of a panel, and 6 of rows.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/table.hpp"
#include "ops/cut.hpp"

namespace fovea {

/// Rows of X, `stride` apart, at the beginning of a run.
template <class T>
struct NearRows {
  const T* at;
  std::int64_t stride;
};

/// Panels [count, depth, width] of T that rows of X meet.
template <class T>
struct PanelWalk {
  static constexpr std::int64_t kBlockRows = 768;
  std::int64_t rows;
  const T* panels;
  std::int64_t count, depth, width;

  /// Numbers in a run: all of them where the rows stay in L3 as they are.
  std::int64_t run() const {
    constexpr std::int64_t kStay = 8 << 20, kRun = sizeof(T) == sizeof(float) ? 1024 : 4096;  // bytes, numbers
    return rows * depth * std::int64_t{sizeof(T)} <= kStay ? std::max<std::int64_t>(1, depth) : kRun;
  }
  bool whole() const { return depth <= run(); }
  /// Room for a block of rows and a run. Rows are a line further apart than a run is long: a power of two apart they
  /// would share a few sets of L1.
  std::int64_t block_rows() const { return std::min(rows, kBlockRows); }
  std::int64_t stride() const { return std::min(depth, run()) + std::int64_t{64 / sizeof(T)}; }

  /// near(first, last, run) gives those rows; linear(count, run, x, panel, p, first, next) has `count` of them, from
  /// row `first` on, meet the p-th panel.
  template <class Near, class Linear>
  void operator()(const Near& near, const Linear& linear) const {
    for (std::int64_t row = 0; row < rows; row += kBlockRows)
      for (std::int64_t d = 0; d == 0 || d < depth; d += run()) {
        const std::int64_t end = std::min(rows, row + kBlockRows);
        const DepthRun part{static_cast<int>(d), static_cast<int>(std::min(depth, d + run())), static_cast<int>(depth)};
        meet(row, end, part, near(row, end, part), linear);
      }
  }

 private:
  template <class Linear>
  void meet(std::int64_t row, std::int64_t end, DepthRun run, NearRows<T> x, const Linear& linear) const {
    // Of one piece of work: 32 register tiles, fewer where there would be few pieces.
    const std::int64_t at_once = rows >= kBlockRows ? 192 : 48, blocks = (end - row + at_once - 1) / at_once;
    parallel_for(blocks * count, [&](std::int64_t piece) {
      const std::int64_t p = piece / blocks, block = piece % blocks, first = row + block * at_once;
      const T* panel = panels + p * depth * width;
      MemoryRun next;  // this block's share of the next panel; few rows are over before it could come
      if (p + 1 < count && rows >= 24) {
        const std::int64_t numbers = run.size() * width, from = numbers * block / blocks;
        next = {panel + (depth + run.begin) * width + from,
                (numbers * (block + 1) / blocks - from) * std::int64_t{sizeof(T)}};
      }
      linear(static_cast<int>(std::min(at_once, end - first)), run,
             NearRows<T>{x.at + (first - row) * x.stride, x.stride}, panel, p, first, next);
    });
  }
};

}  // namespace fovea
