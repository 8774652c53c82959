// One attention problem as every kernel sees it: raw views, sizes, the erased mask and score. Checked before it is made
// (ops/attention.cpp); kernels trust it.
#pragma once
#include <cstddef>
#include <cstdint>

#include <fovea/dtype.hpp>
#include <fovea/tile.hpp>

namespace fovea {

/// [batch, time, heads, dim] with any strides, in elements; or a cache in pages, [pages, page_size, kv_heads, dim].
struct Operand {
  void* data = nullptr;  // q, k and v are never written
  DType dtype = DType::F32;
  std::int64_t batch = 0, time = 0, head = 0, dim = 0;  // strides; of a cache in pages, `batch` is a page's
  const int* table =
      nullptr;  // [batches, blocks]: row t of a sequence lies in page table[t / page_size]. Null: no pages
  int page_size = 0, blocks = 0;
};

/// What the forward pass gathers of rows besides LSE and the greatest score: arrays laid out as lse, with so many
/// numbers at each place as are said.
struct RowProbes {
  static constexpr int kMostTop = 16;
  bool sums = false;                                                // whether the next three are wanted
  float *entropy = nullptr, *distance = nullptr, *first = nullptr;  // H_i, nats; Σ_j A_ij |i − j|; A_i0
  int top = 0;
  int* top_key = nullptr;  // [top] −1: the row has fewer
  float* top_weight = nullptr;
  int segments = 0;
  const float* share = nullptr;   // [segments, share_stride] each key's share of each segment, zeros beyond the keys
  std::int64_t share_stride = 0;  // a multiple of 64, the longest batch row's keys or more
  float* segment_mass = nullptr;  // [segments] Σ_j A_ij share_j
};

struct Problem {
  Operand q, k, v, out;
  int batches = 0, queries = 0, keys = 0;  // queries, keys: of the longest batch row
  int heads = 0, kv_heads = 0;             // kv_heads divides heads
  int head_dim = 0, value_dim = 0;
  double scale = 1;  // finite
  MaskView mask;
  ScoreView score;
  const float* sinks = nullptr;  // [heads], or none
  float* lse = nullptr;          // [batch, heads, time] with these strides and time stride 1; may be null
  float* most = nullptr;         // the greatest score of each row, laid out as lse; may be null
  std::int64_t lse_batch = 0, lse_head = 0;
  const RowProbes* probes = nullptr;

  // Batch rows of different length. Null: all rows have `queries` and `keys`.
  const int* q_lengths = nullptr;   // [batches]
  const int* kv_lengths = nullptr;  // [batches]
  // Batch rows packed one after another along time (then the batch strides are 0). Null: not packed.
  const int* q_begin = nullptr;   // [batches]
  const int* kv_begin = nullptr;  // [batches]

  int queries_of(int b) const { return q_lengths ? q_lengths[b] : queries; }
  int keys_of(int b) const { return kv_lengths ? kv_lengths[b] : keys; }
  int group() const { return heads / kv_heads; }  // query heads that share a KV head
  std::int64_t q_offset(int b, int head, int t) const {
    return b * q.batch + (t + (q_begin ? q_begin[b] : 0)) * q.time + head * q.head;
  }
  std::int64_t out_offset(int b, int head, int t) const {
    return b * out.batch + (t + (q_begin ? q_begin[b] : 0)) * out.time + head * out.head;
  }
  // Always inlined: kernels of several instruction sets use them. Rows [0, keys_of(b)) exist.
  [[gnu::always_inline]] std::int64_t k_offset(int b, int kv_head, int t) const { return row_of(k, b, kv_head, t); }
  [[gnu::always_inline]] std::int64_t v_offset(int b, int kv_head, int t) const { return row_of(v, b, kv_head, t); }
  [[gnu::always_inline]] std::int64_t row_of(const Operand& x, int b, int kv_head, int t) const {
    if (x.table)
      return x.table[std::int64_t{b} * x.blocks + t / x.page_size] * x.batch + t % x.page_size * x.time +
             kv_head * x.head;
    return b * x.batch + (t + (kv_begin ? kv_begin[b] : 0)) * x.time + kv_head * x.head;
  }
  std::int64_t lse_offset(int b, int head, int t) const {
    return b * lse_batch + head * lse_head + t + (q_begin ? q_begin[b] : 0);
  }
};

/// What is asked of one head in a second pass, and where it goes. Per row [rows], of queries.end − queries.begin rows;
/// null: not wanted, where that is said. The sums over rows are those of Problem::probes, which asks for `sums` and
/// perhaps a segment of its own.
struct HeadTrace {
  int batch = 0, head = 0;
  Range queries;
  const int* offsets = nullptr;  // [offset_count]: of A_i,i+offset
  int offset_count = 0;
  const float* row_share = nullptr;  // [rows] of `received`; null: 1

  bool rows = true;                                            // false: nothing up to `error` is wanted
  int* visible = nullptr;                                      // zeros at first: keys that the mask shows
  float *mass = nullptr, *entropy = nullptr, *most = nullptr;  // Σ_j A_ij; H_i, nats; max_j A_ij
  float *distance = nullptr, *along = nullptr;                 // Σ_j A_ij |i − j|; Σ_j A_ij share_j of segment 0
  float *first = nullptr, *at = nullptr;                       // A_i0; [offset_count, rows], zeros at first
  float* error = nullptr;                                      // max over channels of |Σ_j A_ij v_j − o_i|
  float* received = nullptr;  // [keys up to a multiple of 64] += Σ_i share_i A_ij; null: not wanted
  /// [⌈rows/64⌉, tiles] += Σ A, and max A, of tiles of 64 × 64, rows counted from `first_row` on; null: not wanted.
  float *tile_mass = nullptr, *tile_peak = nullptr;
  std::int64_t tiles = 0;
  int first_row = 0;
};

/// What a backward pass reads and writes beside the problem, whose out and lse the forward pass filled.
struct GradientProblem {
  Operand dout, dq;  // [batch, time, heads, value_dim], [batch, time, heads, head_dim]
  Operand dk, dv;    // [batch, time, kv_heads, dim], written where sums are an item's own; rows beyond a length are not
  float* delta = nullptr;  // Σ dout·out of each row, laid out as lse
  /// Else sums towards dk and dv, zeros at first: [splits, kv_heads, key_rows, padded head_dim + padded value_dim]. A
  /// key's row is its place along time, packed or not, after those of earlier batch rows.
  float* sums = nullptr;
  std::int64_t key_rows = 0;
  /// Where this item adds what the score's own numbers receive, one array for each parameter; null when not wanted.
  float* const* parameters = nullptr;
};

}  // namespace fovea
