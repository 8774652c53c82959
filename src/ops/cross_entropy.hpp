// The loss of classification.
#pragma once
#include <span>

#include <fovea/tensor.hpp>

namespace fovea {

struct CrossEntropy {
  float smoothing = 0;  // ε: what of the target's probability is spread evenly over all classes
  int ignore = -1;      // the target of rows that don't count
};

/// Mean over the rows that count of (1 − ε) · −ln p(target) + ε / classes · Σ −ln p (Szegedy et al. 2015, 1512.00567,
/// as PyTorch's label_smoothing). logits [rows, classes], one target a row → [1]. Error when no row counts.
Tensor cross_entropy(const Tensor& logits, std::span<const int> targets, CrossEntropy how = {});

}  // namespace fovea
