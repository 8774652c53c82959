// What may follow what was written.
#pragma once
#include <span>
#include <vector>

#include "runtime/generation.hpp"

namespace fovea::runtime {

/// The parts of a Generation that forbid or force tokens, in the order in which transformers applies them.
class Rules {
 public:
  explicit Rules(const Generation& g);
  /// `written` from the start token on; `scores` [vocabulary] of what follows: −∞ for what may not, and where a token
  /// is forced 0 for it.
  void apply(std::span<const int> written, std::span<float> scores) const;
  bool ends(int id) const;

 private:
  Generation how_;
};

}  // namespace fovea::runtime
