// A linear layer by register tiles, in f32 or in pairs of bf16: rows of X meet a panel strip by strip.
//
// A strip meets a run of the panel's depth at a time. Between runs its sums lie close together in a block, for y's own
// rows may be a multiple of 4 KB apart and share a few sets of L1. The last run's tiles leave for y as they are, with
// the bias, after the lines that they go to were asked for beside their products: by way of the block, bf16 lost 3 to
// 4% of a layer of 1,024 by 1,024, f32 1 to 3%. Sums that y holds come by way of the block: as tiles read them, 3%
// slower.
#pragma once
#include "kernels/generic/matmul.hpp"
#include "kernels/generic/piece.hpp"
#include "kernels/generic/strip_sums.hpp"

namespace fovea::FOVEA_ISA {

/// Where the sums of a register tile come from, in a block [rows, kWide], and go to.
template <int kWide>
struct SumsPath {
  const float* from;  // null: from zero
  float* to;
  std::ptrdiff_t to_row;
  const float* bias;  // null: none

  SumsPath below(int rows) const { return {from ? from + rows * kWide : nullptr, to + rows * to_row, to_row, bias}; }
};

/// The lines of a tile of y, asked for a column of vectors at a time.
struct AskForTile {
  static constexpr int kTimes = kTileVecs, kParts = 1;
  const float* at;
  std::ptrdiff_t row;
  void operator()(int column, int) const {
#pragma GCC unroll 24
    for (int i = 0; i < kTileRows; ++i) __builtin_prefetch(at + i * row + column * kLanes, 0, 3);
  }
};

/// to = from + sum + bias, of columns from j on.
template <int Rows, int kWide>
[[gnu::always_inline]] inline void leave_tile(Vec (&sum)[Rows][kTileVecs], const SumsPath<kWide>& s, int j) {
  if (s.from)
#pragma GCC unroll 24
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < kTileVecs; ++v) sum[i][v] = load(s.from + i * kWide + j + v * kLanes) + sum[i][v];
  if (s.bias)
#pragma GCC unroll 24
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < kTileVecs; ++v) sum[i][v] = sum[i][v] + load(s.bias + j + v * kLanes);
  store_tile<false>(sum, s.to + j, s.to_row);
}

/// The next Rows rows, or as many of them as there are, and their run: to = from + A [rows, depth] · panel + bias.
template <int kWide, int Rows = kTileRows, class T>
inline void rows_of_strip(int rows, const T* a, std::ptrdiff_t lda, const T* panel, int depth,
                          const SumsPath<kWide>& s) {
  if constexpr (Rows > 1)
    if (rows < Rows) return rows_of_strip<kWide, Rows - 1>(rows, a, lda, panel, depth, s);
  for (int j = 0; j < kWide; j += kTileVecs * kLanes) {
    Vec sum[Rows][kTileVecs];
    const T* b = panel + j * Step<T>::kNumbers;
    if (Rows == kTileRows && s.to_row != kWide)  // not the block's, which L1 has
      accumulate<Left::Upright>(a, lda, b, kWide, depth, sum, AskForTile{s.to + j, s.to_row});
    else
      accumulate<Left::Upright>(a, lda, b, kWide, depth, sum);
    leave_tile(sum, s, j);
  }
}

/// y [rows, ldy], its first `columns`, = x [rows, ldx] · panel [depth, kWide] + bias [kWide], a run of the depth, in
/// strips of kRows rows and runs of kDepth. `ahead` is asked once a register tile.
template <int kWide, int kRows, int kDepth, class T>
inline void linear_strips(int rows, DepthRun run, const T* x, std::ptrdiff_t ldx, const T* panel, const float* bias,
                          float* y, std::ptrdiff_t ldy, int columns, Ahead ahead) {
  alignas(64) float block[kRows * kWide];
  const bool whole = columns == kWide;
  if (!run.last()) bias = nullptr;
  panel += std::ptrdiff_t{run.begin} * kWide;
  for (int r = 0; r < rows; r += kRows) {
    const int n = at_most(kRows, rows - r);
    float* to = y + r * ldy;
    if (!run.first()) copy_block<kWide>(to, ldy, n, columns, block);
    for (int d = 0; d == 0 || d < run.size(); d += kDepth) {
      const int left = run.size() - d;
      SumsPath<kWide> s{d == 0 && run.first() ? nullptr : block, block, kWide, nullptr};
      if (left <= kDepth && whole) s.to = to, s.to_row = ldy, s.bias = bias;
      for (int i = 0; i < n; i += kTileRows) {
        rows_of_strip<kWide>(n - i, x + (r + i) * ldx + d, ldx, panel + std::ptrdiff_t{d} * kWide,
                             at_most(kDepth, left), s.below(i));
        ahead.ask();
        const int soon = r + kRows + i;  // rows of y that the next strip will read
        if (d == 0 && !run.first()) ask_for_sums(y, ldy, soon, at_most(rows, soon + kTileRows), columns);
      }
    }
    if (!whole) leave_sums<kWide>(block, n, bias, to, ldy, columns);
  }
}

}  // namespace fovea::FOVEA_ISA
