// A linear layer: packed for inference, or the parameters themselves for training.
#pragma once
#include <cstdint>
#include <functional>

#include "nn/weights.hpp"
#include "ops/linear.hpp"

namespace fovea::nn {

/// Whether a layer has a bias is for the architecture to say: a bias that is merely absent from the file is a broken
/// file.
enum class Bias { None, Present };

class Linear {
 public:
  Linear() = default;
  /// `weight` [out, in] and, where there is one, `bias` [out] of a scope.
  Linear(const Weights& weights, std::int64_t in, std::int64_t out, Bias bias = Bias::Present);
  /// The same of tensors that are at hand, a table that is used twice say: weight [out, in], bias [out] or empty.
  Linear(const Tensor& weight, const Tensor& bias, Purpose purpose);

  /// x F32 [rows, in] → F32 [rows, out]
  Tensor operator()(const Tensor& x) const;
  /// The same for a layer that a pass calls at every step, with few rows: what training does with the weight is done
  /// once. Lives no longer than this layer and the tape that stands.
  std::function<Tensor(const Tensor&)> repeated() const;
  std::int64_t in_features() const { return weight_.empty() ? packed_.in_features() : weight_.shape()[1]; }
  std::int64_t out_features() const { return weight_.empty() ? packed_.out_features() : weight_.shape()[0]; }

 private:
  PackedLinear packed_;   // inference; for training it is empty,
  Tensor weight_, bias_;  // and these are the parameters: F32 [out, in], [out] or empty
};

}  // namespace fovea::nn
