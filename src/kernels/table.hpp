// What one instruction set offers: a plain table of functions over raw pointers. No allocation, no exceptions, no
// threads below here.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/problem.hpp"

namespace fovea {

/// How a forward kernel cuts a problem. It depends on the problem's sizes only, never on threads, so neither do the
/// results.
struct Plan {
  std::int64_t items = 0;         // independent pieces of work
  std::size_t scratch_bytes = 0;  // for one piece, 64-byte aligned
  int query_rows = 0;             // rows in flight in one piece, over all heads of a KV head
  int padded_value_dim = 0;
  int key_tiles = 0;                // tiles of keys that are packed at a time
  std::int64_t partial_floats = 0;  // what runs of keys of one row leave to be merged; 0: nothing is cut along keys
  float* partials = nullptr;        // [partial_floats], given by the caller
  std::int64_t few_bytes = 0;       // of keys and values that few rows read, at most
  bool into_l2 = false;             // given likewise: where few rows ask for lines of keys and values, L2 or L1
  // Items, and floats of partials, before every stride-th batch row: an item's own row is found from there. Thousands
  // of short sequences lie in one problem, each a batch row.
  static constexpr int kMarks = 64;
  struct Mark {
    std::int64_t item = 0, partial = 0;
  } marks[kMarks];
  int marked = 0, stride = 1;
};

/// How a backward kernel cuts one: the rows of a KV head's group into `splits` runs, each with its own sums for dk and
/// dv.
struct GradientPlan {
  std::int64_t items = 0;         // batches · kv_heads · splits
  std::size_t scratch_bytes = 0;  // for one item
  int splits = 1;
  int sum_rows = 0;    // without splits, short sums are an item's own scratch: of so many keys
  int piece_rows = 0;  // rows at a time
  int key_tiles = 0;
  int padded_head_dim = 0, padded_value_dim = 0;
};

/// The numbers of one step of AdamW: p −= rate · m / (√(unbias2 · v) + eps) + decay · p.
struct AdamWStep {
  float slope_factor;   // of every slope: clipping
  float beta1, beta2;   // of the moments
  float rest1, rest2;   // 1 − β
  float rate, unbias2;  // the learning rate, already over 1 − β1ᵗ; 1 / (1 − β2ᵗ)
  float eps, decay;     // decay: rate · weight_decay
};

/// Bytes one after another.
struct MemoryRun {
  const void* at = nullptr;
  std::int64_t bytes = 0;
};

/// Part of a product's depth. The first run writes y, others add to what it holds, the last adds the bias too.
struct DepthRun {
  int begin, end, depth;
  int size() const { return end - begin; }
  bool first() const { return begin == 0; }
  bool last() const { return end == depth; }
};

struct KernelTable {
  Plan (*plan)(const Problem&) noexcept;
  /// One piece of work: fills its rows of out and lse.
  void (*forward)(const Problem&, const Plan&, std::int64_t item, std::byte* scratch) noexcept;
  /// After all items, when plan.partial_floats is not 0.
  void (*merge)(const Problem&, const Plan&, std::byte* scratch) noexcept;
  GradientPlan (*plan_backward)(const Problem&) noexcept;
  /// One item: fills its rows of dq and delta, adds to its split of the sums.
  void (*backward)(const Problem&, const GradientProblem&, const GradientPlan&, std::int64_t item,
                   std::byte* scratch) noexcept;
  /// weights [queries, keys] of one head, rebuilt from q, k and p.lse. At most plan.query_rows queries. Where all keys
  /// of the batch row are asked for, the rounding of lse is divided out.
  void (*weights)(const Problem&, const Plan&, int batch, int head, Range queries, Range keys, float* weights,
                  std::byte* scratch) noexcept;
  /// One head's rows and columns summed up, from q, k, v and p.lse. At most plan.query_rows queries.
  void (*trace)(const Problem&, const Plan&, const HeadTrace&, std::byte* scratch) noexcept;
  /// y [rows, ldy], its first `columns`, = x [rows, ldx] · panel [depth, 64] + bias [64], a run of the depth at a time;
  /// x holds the run's numbers, panel and bias all. Memory is asked meanwhile for what the calls to come will read.
  void (*linear)(int rows, DepthRun run, const float* x, std::ptrdiff_t ldx, const float* panel, const float* bias,
                 float* y, std::ptrdiff_t ldy, int columns, MemoryRun next) noexcept;
  /// c [outs, ldc], its first `columns`, = aᵀ · b, of a [rows, lda], `outs` columns of it, and b [rows, ldb].
  void (*linear_turned)(int rows, int outs, const float* a, std::ptrdiff_t lda, const float* b, std::ptrdiff_t ldb,
                        float* c, std::ptrdiff_t ldc, int columns) noexcept;
  /// to [columns, rows] = fromᵀ, from [rows, columns], with these distances between rows.
  void (*turn)(const float* from, std::ptrdiff_t from_stride, int rows, int columns, float* to,
               std::ptrdiff_t to_stride) noexcept;
  /// y [n] = f(x), y may be x; `which` is an Activation.
  void (*activate)(int which, const float* x, std::int64_t n, float* y) noexcept;
  /// dx [n] = dy · f'(x), dx may be dy.
  void (*activate_backward)(int which, const float* x, const float* dy, std::int64_t n, float* dx) noexcept;
  /// y [rows, width]; gain, shift [width].
  void (*layer_norm)(const float* x, int rows, int width, const float* gain, const float* shift, float eps,
                     float* y) noexcept;
  /// dx [rows, width] written; dgain, dshift [width] added to.
  void (*layer_norm_backward)(const float* x, const float* dy, int rows, int width, const float* gain, float eps,
                              float* dx, float* dgain, float* dshift) noexcept;
  void (*rms_norm)(const float* x, int rows, int width, const float* gain, float eps, float* y) noexcept;
  void (*rms_norm_backward)(const float* x, const float* dy, int rows, int width, const float* gain, float eps,
                            float* dx, float* dgain) noexcept;
  /// y [rows, width] = e^(x − lse), lse [rows]; either may be null, y may be x.
  void (*row_softmax)(const float* x, int rows, int width, float* y, float* lse) noexcept;
  /// y [width] = factor · e^(x − lse) − less.
  void (*row_slope)(const float* x, int width, float lse, float factor, float less, float* y) noexcept;
  /// Element-wise halves of recurrent cells; the formulas are in generic/gates.hpp.
  void (*gru)(int rows, int width, const float* x, const float* s, const float* state, float* gates,
              float* out) noexcept;
  void (*gru_backward)(int rows, int width, const float* dout, const float* gates, const float* s, const float* state,
                       float* dx, float* ds, float* dstate) noexcept;
  void (*lstm)(int rows, int width, const float* x, const float* s, const float* memory, float* gates,
               float* memory_out, float* out) noexcept;
  void (*lstm_backward)(int rows, int width, const float* dout, const float* dmemory_out, const float* gates,
                        const float* memory, const float* memory_out, float* dgates, float* dmemory) noexcept;
  /// v · tanh(q + key) of one query and n keys, `stride` apart, and what goes back from dscores [n], added to dq, dkeys
  /// and dv.
  void (*additive_scores)(const float* q, const float* keys, std::ptrdiff_t stride, int n, int width, const float* v,
                          float* scores) noexcept;
  void (*additive_backward)(const float* q, const float* keys, std::ptrdiff_t stride, int n, int width, const float* v,
                            const float* dscores, float* dq, float* dkeys, float* dv) noexcept;
  /// Random words [4 · blocks] of blocks first, first + 1, … of a stream; the same on every instruction set.
  void (*philox)(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, std::int64_t blocks,
                 std::uint32_t* words) noexcept;
  /// y [n] = x · factor where a half word of the stream, from block `first` on, is `fall` or more, else 0.
  void (*drop)(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, std::uint16_t fall, float factor,
               const float* x, std::int64_t n, float* y) noexcept;
  /// One step over n parameters p, with slopes g and moments m, v.
  void (*adamw)(const AdamWStep&, const float* g, float* p, float* m, float* v, std::int64_t n) noexcept;
  /// to [n] += from.
  void (*add)(const float* from, float* to, std::int64_t n) noexcept;
  double (*sum)(const float* x, std::int64_t n) noexcept;
  double (*sum_of_squares)(const float* x, std::int64_t n) noexcept;
  /// x [n] read and added up, n a multiple of 128: as fast as memory gives it up.
  float (*read_alone)(const float* x, std::int64_t n) noexcept;
  /// The same in an order of lines that no prefetcher foresees, asked for in time into L2 or L1; n: a power of two.
  float (*read_asking)(const float* x, std::int64_t n, bool into_l2) noexcept;
  /// FMAs on registers alone: 2 · lanes · `chains` · rounds floating-point operations; returns something that depends
  /// on them.
  float (*spin_fma)(std::int64_t rounds) noexcept;
  int fma_flops_per_round;
};

extern const KernelTable kScalarTable, kAvx2Table, kAvx512Table;

/// Both passes and linear layers on products of bf16 numbers, which stand on the table of the same machine for all
/// else.
struct Bf16Table {
  Plan (*plan)(const Problem&) noexcept;
  void (*forward)(const Problem&, const Plan&, std::int64_t item, std::byte* scratch) noexcept;
  /// The forward pass on f32 numbers in three parts of bf16, six products for one; null where it never pays.
  Plan (*plan_split)(const Problem&) noexcept;
  void (*forward_split)(const Problem&, const Plan&, std::int64_t item, std::byte* scratch) noexcept;
  GradientPlan (*plan_backward)(const Problem&) noexcept;
  void (*backward)(const Problem&, const GradientProblem&, const GradientPlan&, std::int64_t item,
                   std::byte* scratch) noexcept;
  /// As KernelTable::linear, of a panel [depth / 2, width, 2]. Runs begin and end at multiples of depth_unit, and rows
  /// of x follow up to a multiple of row_unit.
  void (*linear)(int rows, DepthRun run, const bf16* x, std::ptrdiff_t ldx, const bf16* panel, const float* bias,
                 float* y, std::ptrdiff_t ldy, int columns) noexcept;
  /// to [rows, padded] = from [rows, n], rows `stride` apart, rounded, zeros behind.
  void (*round_rows)(const float* from, std::ptrdiff_t stride, int rows, int n, bf16* to, int padded) noexcept;
  /// to [padded, 2]: pairs of two rows [n], rounded, zeros behind; a null `odd` is a row of zeros.
  void (*round_pairs)(const float* even, const float* odd, int n, bf16* to, int padded) noexcept;
  int width, depth_unit, row_unit;
  float (*spin)(std::int64_t rounds) noexcept;  // products on registers alone, as spin_fma
  int flops_per_round;
};
extern const Bf16Table kAvx512Bf16Table, kAmxTable;
/// The same kernels on emulated instructions, beside the façade of AVX-512 or of any machine.
extern const Bf16Table kPairsOnAvx512Table, kTilesOnAvx512Table, kPairsOnScalarTable, kTilesOnScalarTable;

}  // namespace fovea
