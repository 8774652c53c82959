// Keys and values of sequences that are being written, a token at a time.
#pragma once
#include <cstdint>
#include <span>

#include <fovea/tensor.hpp>

namespace fovea::nn {

/// Rows that grow together: all have the same length. Room doubles when it runs out, so that a token costs O(1) copies.
class KvCache {
 public:
  /// One more token for every row: k F32 [rows, 1, kv_heads, head_dim], v F32 [rows, 1, kv_heads, value_dim]. The first
  /// call says how many rows there are.
  void append(const Tensor& k, const Tensor& v);
  /// Row i becomes what row rows[i] was; rows may repeat, and be left out.
  void select(std::span<const int> rows);

  std::int64_t length() const { return length_; }
  TensorView keys() const { return seen(keys_); }      // [rows, length, kv_heads, head_dim]
  TensorView values() const { return seen(values_); }  // [rows, length, kv_heads, value_dim]

 private:
  TensorView seen(const Tensor& t) const;
  Tensor keys_, values_;  // [rows, capacity, kv_heads, head_dim or value_dim]
  std::int64_t length_ = 0;
};

}  // namespace fovea::nn
