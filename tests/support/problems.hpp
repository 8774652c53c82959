// Random attention problems: every size, layout, dtype, mask, score, length and packing that attend() admits.
#pragma once
#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fovea/attention.hpp>

#include "kernels/problem.hpp"
#include "support/parts.hpp"

namespace fovea::testing {

/// An input tensor [batch, time, heads, dim] in a layout of its own. What lies between its elements is NaN, so that a
/// kernel that reads beyond them shows.
class Input {
 public:
  Input() = default;
  Input(DType dtype, const Shape& shape) : Input(dtype, shape, contiguous_strides(shape), 0) {}
  Input(DType dtype, const Shape& shape, const Shape& strides, std::int64_t offset);
  double get(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) const;
  void set(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d, double x);
  using Number = std::function<double(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d)>;
  /// set(b, t, h, d, f(b, t, h, d)) everywhere.
  void fill(const Number& f);
  /// The same numbers in memory of their own, in another layout if one is given.
  Input copy() const { return copy_as(view.shape, view.strides, 0); }
  Input copy_as(const Shape& shape, const Shape& strides, std::int64_t offset) const;

  TensorView view;

 private:
  std::int64_t at(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) const {
    return b * view.strides[0] + t * view.strides[1] + h * view.strides[2] + d * view.strides[3];
  }
  Tensor memory_;
};
Input random_layout(Rng& rng, DType dtype, const Shape& shape);
/// What a kernel or the reference sees of a tensor.
Operand operand_of(const TensorView& t);

struct Case {
  Input q, k, v;
  AnyMask mask;
  AnyScore score;
  double moves = 0;  // see NamedScore
  std::optional<double> scale;
  std::vector<float> sinks;
  std::vector<int> q_lengths, kv_lengths, q_ends, kv_ends;  // empty: not given
  std::optional<DType> output;
  std::string mask_name = "everything()", score_name = "identity";
  Keep keep;

  int batches() const { return static_cast<int>(q.view.shape[0]); }
  int queries() const { return static_cast<int>(q.view.shape[1]); }
  int keys() const { return static_cast<int>(k.view.shape[1]); }
  int heads() const { return static_cast<int>(q.view.shape[2]); }
  int kv_heads() const { return static_cast<int>(k.view.shape[2]); }
  int head_dim() const { return static_cast<int>(q.view.shape[3]); }
  int value_dim() const { return static_cast<int>(v.view.shape[3]); }
  DType out_dtype() const { return output.value_or(q.view.dtype); }
  double the_scale() const { return scale.value_or(1 / std::sqrt(static_cast<double>(head_dim()))); }

  AttentionSpec spec() const;
  Attention attend() const;
  std::string str() const;
};

/// The reference's view of a case, made here and not by attend(), so that a fault in its plumbing shows.
struct CaseProblem {
  Problem p;
  std::vector<int> q_lengths, kv_lengths, q_begin, kv_begin;

  explicit CaseProblem(const Case& c);
  CaseProblem(const CaseProblem&) = delete;
  CaseProblem& operator=(const CaseProblem&) = delete;

  /// The row of the tensors [batch, time] where query q of batch row b stands.
  std::pair<int, int> place(int b, int q) const { return p.q_begin ? std::pair(0, p.q_begin[b] + q) : std::pair(b, q); }
};

struct Choice {
  std::vector<DType> dtypes = {DType::F32, DType::F32, DType::BF16, DType::F16};
  int most = 140;        // of queries and of keys
  double work = 60'000;  // most multiplications of QKᵀ and PV, reading and writing a number counted as 8
  int batches = 3;
  bool masks = true, scores = true, sinks = true, lengths = true, layouts = true, empty = true;
  bool grid_values = false;  // multiples of 1/16 in [−2, 2]: exact in every dtype, and so are their sums and halves
};

/// Sizes, layouts and numbers; no mask, score, lengths or sinks yet.
Case random_tensors(Rng& rng, const Choice& choice);
void add_lengths(Rng& rng, Case& c);
Case random_case(Rng& rng, const Choice& choice = {});

}  // namespace fovea::testing
