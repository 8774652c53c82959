// The learning rate by step.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace fovea::train {

/// After a linear warm-up: Linear holds, then falls to 0 in a line; Cosine falls along half a wave (Loshchilov & Hutter
/// 2017, arXiv 1608.03983); InverseRoot falls as 1/√step (Vaswani et al. 2017, §5.3).
enum class Fall { Linear, Cosine, InverseRoot };

struct Schedule {
  double peak = 2e-3;
  std::int64_t warmup = 400, steps = 4500;
  double hold = 0.3;  // Linear: this share of the steps passes before it falls
  Fall fall = Fall::Linear;

  /// Of step 0, 1, …, steps − 1.
  double operator()(std::int64_t step) const {
    const auto at = static_cast<double>(step), all = static_cast<double>(steps), first = static_cast<double>(warmup);
    const double risen = warmup > 0 ? std::min(1.0, (at + 1) / first) : 1.0;
    if (fall == Fall::InverseRoot)
      return peak * risen * std::sqrt(std::max(first, 1.0) / std::max(at + 1, std::max(first, 1.0)));
    if (fall == Fall::Linear) return peak * risen * std::clamp((1 - at / all) / (1 - hold), 0.0, 1.0);
    const double done = std::clamp((at - first) / std::max(all - first, 1.0), 0.0, 1.0);
    return peak * risen * 0.5 * (1 + std::cos(std::numbers::pi * done));
  }
};

}  // namespace fovea::train
