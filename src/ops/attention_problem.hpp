// From the user's tensors and spec to the Problem that kernels trust: every check of attention's inputs is here.
#pragma once
#include <vector>

#include <fovea/attention.hpp>

#include "kernels/problem.hpp"

namespace fovea {

/// A checked problem with the arrays it points to. Throws Error naming the tensor, its shape, and what was expected.
class PreparedProblem {
 public:
  PreparedProblem(const TensorView& q, const PagedView& k, const PagedView& v, const AttentionSpec& spec);
  PreparedProblem(const TensorView& q, const TensorView& k, const TensorView& v, const AttentionSpec& spec)
      : PreparedProblem(q, PagedView(k), PagedView(v), spec) {}
  PreparedProblem(const PreparedProblem&) = delete;
  PreparedProblem& operator=(const PreparedProblem&) = delete;

  Problem problem;  // out and lse are unset until set_results

  void set_results(const Tensor& out, const Tensor& lse);  // kernels write them in attend() alone
  /// For kernels that read lse only.
  void set_lse(const Tensor& lse);
  /// Element offsets into contiguous `out` [batch, time, heads, value_dim] and `lse` [batch, heads, time].
  std::int64_t out_offset(int batch, int head, int query) const;
  std::int64_t lse_offset(int batch, int head, int query) const;

 private:
  void set_lengths(const Lengths& lengths);
  void set_pages(const PagedView& k, const PagedView& v);
  void set_packed(const Packed& packed);
  std::vector<int> q_lengths_, kv_lengths_, q_begin_, kv_begin_;  // [batches]
  std::int64_t time_ = 0;                                         // of q, out and lse
};

/// What a kernel is to fill but for rows beyond their lengths, which are zeros; null: there are none.
Tensor to_be_filled(DType dtype, const Shape& shape, const int* lengths);

}  // namespace fovea
