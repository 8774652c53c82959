// y = x · Wᵀ + b at every step of a recurrence.
#pragma once
#include <memory>

#include <fovea/tensor.hpp>

namespace fovea {

/// linear() of one weight, many times in one pass, with few rows each time. The weight is packed once for all calls,
/// and its gradient is one product over the rows of all of them, where linear() would pack, multiply and add up a whole
/// matrix at each. weight [out, in], bias [out] or an empty tensor; F32 or F64. On a tape it belongs to that tape.
class RepeatedLinear {
 public:
  RepeatedLinear(const Tensor& weight, const Tensor& bias);
  /// x [rows, in] → [rows, out].
  Tensor operator()(const Tensor& x) const;

 private:
  struct Steps;
  std::shared_ptr<Steps> steps_;
};

}  // namespace fovea
