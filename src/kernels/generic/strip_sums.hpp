// A strip of rows of a linear layer while it meets a panel: its sums lie close together in a block, for y's own rows
// may be a multiple of 4 KB apart and share a few sets of L1. What is read next is asked for meanwhile.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/table.hpp"

namespace fovea::FOVEA_ISA {

/// Memory that other work will read soon, asked for a few lines at a time.
class Ahead {
 public:
  Ahead(MemoryRun run, std::int64_t moments)
      : at_(static_cast<const char*>(run.at)), end_(at_ + run.bytes), lines_((run.bytes / kLine + moments) / moments) {}
  void ask() {
    for (std::int64_t i = 0; i < lines_ && at_ < end_; ++i, at_ += kLine) __builtin_prefetch(at_, 0, 2);
    asm volatile("");  // see prefetch_row
  }

 private:
  static constexpr int kLine = 64;
  const char *at_, *end_;
  std::int64_t lines_;
};

/// Asks for rows [first, last) of y [ldy], their first `columns`, which are read soon.
inline void ask_for_sums(const float* y, std::ptrdiff_t ldy, int first, int last, int columns) {
  for (int i = first; i < last; ++i) Ahead({y + i * ldy, columns * std::int64_t{sizeof(float)}}, 1).ask();
}

/// [rows, kWide] = from [rows, n], zeros beyond n.
template <int kWide>
inline void copy_block(const float* from, std::ptrdiff_t stride, int rows, int n, float* to) {
  for (int r = 0; r < rows; ++r) {
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) store(to + r * kWide + i, load(from + r * stride + i));
    for (; i < n; ++i) to[r * kWide + i] = from[r * stride + i];
    for (; i < kWide; ++i) to[r * kWide + i] = 0;
  }
}

/// y [rows, columns] = block [rows, kWide], plus bias [kWide] where it isn't null.
template <int kWide>
inline void leave_sums(const float* block, int rows, const float* bias, float* y, std::ptrdiff_t ldy, int columns) {
  for (int i = 0; i < rows; ++i, block += kWide, y += ldy) {
    int j = 0;
    for (; j + kLanes <= columns; j += kLanes) store(y + j, bias ? load(block + j) + load(bias + j) : load(block + j));
    for (; j < columns; ++j) y[j] = bias ? block[j] + bias[j] : block[j];
  }
}

}  // namespace fovea::FOVEA_ISA
