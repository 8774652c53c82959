// A table of vectors, looked up by id.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "nn/weights.hpp"

namespace fovea::nn {

class Embedding {
 public:
  Embedding() = default;
  /// `weight` [rows, width], kept as stored: rows are widened as they are read, so that 16-bit tables stay small.
  Embedding(const Weights& weights, std::int64_t rows, std::int64_t width);

  std::int64_t rows() const { return table_.empty() ? 0 : table_.shape()[0]; }
  const Tensor& table() const { return table_; }  // [rows, width], any float dtype
  /// Throws Error unless every id is a row; `what` names an id in the message ("token id").
  void check(std::span<const int> ids, std::string_view what) const;
  /// Rows ids[i], F32 [ids, width]; in training the gradient goes to the table. The ids are known to be in range.
  Tensor operator()(std::span<const int> ids) const;
  /// x with row ids[i] added to its row i, F32 [ids, width]; as add(), in place where nobody else holds x.
  Tensor add_to(Tensor x, std::span<const int> ids) const;

 private:
  Tensor table_;
};

}  // namespace fovea::nn
