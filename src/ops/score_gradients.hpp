// Sums towards what the numbers inside a score receive (score_parameter.hpp), over all items of a backward pass.
#pragma once
#include <vector>

#include <fovea/attention.hpp>

#include "kernels/table.hpp"

namespace fovea {

/// Where every item of a backward pass adds, so that no two at work at once add to one number, and each number is
/// summed in an order that depends on sizes alone.
///
/// A small parameter has sums of its own for each item. A large one (a bias over all queries and keys) has room for
/// few: items that share any of its numbers are a class, a class has `copies` sums, and a lane is what adds to one of
/// them, item after item. Items of different classes never meet.
class ScoreSums {
 public:
  ScoreSums(const std::vector<ScoreParameter>& parameters, const Problem& p, const GradientPlan& plan);
  /// Items of a lane run one after another; lanes run side by side.
  const std::vector<std::vector<std::int64_t>>& lanes() const { return lanes_; }
  /// One array for each parameter.
  float* const* of(std::int64_t item) const;
  std::vector<ScoreGradient> add_up() const;

 private:
  struct Sums {
    ScoreParameter parameter;
    bool large;
    std::vector<Tensor> copies;  // F32, of the parameter's shape
  };
  std::vector<Sums> sums_;
  std::vector<std::vector<std::int64_t>> lanes_;
  std::vector<float*> pointers_;  // [items, parameters]
};

}  // namespace fovea
