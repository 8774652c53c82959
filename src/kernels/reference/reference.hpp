// Attention in float64, written to be read: the specification of every kernel, and the oracle of every test.
#pragma once
#include <functional>
#include <vector>

#include "kernels/problem.hpp"

namespace fovea::reference {

/// One row of the score matrix, everything there is to know of it. O(keys · head_dim) time.
struct ScoredRow {
  std::vector<double> score;  // [keys] after scale and functors; −inf where the mask hides
  std::vector<double>
      weight;       // [keys] softmax of the scores, the sink in the denominator; all 0 when nothing is visible
  double sink = 0;  // the weight that the sink took
  double lse = 0;   // ln Σ exp(score), sink included; −inf for a row that sees nothing
};
ScoredRow row(const Problem& p, int batch, int head, int query);

/// out [value_dim] of one row, lse in float64.
std::vector<double> output(const Problem& p, int batch, int head, const ScoredRow& row);

/// The whole problem: fills p.out (rounded once, to its dtype) and p.lse.
void forward(const Problem& p);

/// Gradients of Σ out ∘ dout. Dense, contiguous, float64.
struct Gradients {
  std::vector<double> dq;     // [batches, queries, heads, head_dim]
  std::vector<double> dk;     // [batches, keys, kv_heads, head_dim]
  std::vector<double> dv;     // [batches, keys, kv_heads, value_dim]
  std::vector<double> dsink;  // [heads]
};
/// `dout` is [batch, time, heads, value_dim], packed as q is. `on_score`, when given, receives the logit (scaled,
/// before all functors) and ∂/∂score (after them) of each visible site.
Gradients backward(const Problem& p, const Operand& dout,
                   const std::function<void(const Site&, double logit, double dscore)>& on_score = {});

}  // namespace fovea::reference
