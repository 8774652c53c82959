// The parts of fovea attend: what it computes beside the output.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <fovea/attention.hpp>

#include "attention_input.hpp"

namespace fovea::cli {

/// Weight rows of one head, in order: rows [begin, begin + count) of batch row and head, each padded with zeros to all
/// keys.
struct WeightBand {
  int batch = 0, head = 0, begin = 0, count = 0;
  std::vector<float> rows;  // [count, keys]
};
/// Rebuilds every weight row band by band, several at once, and hands them over in the order [batch, head, query].
/// Holds some megabytes, never n².
void for_weight_bands(const AttentionInput& in, const Attention& a, const std::function<void(const WeightBand&)>& take);

/// Entropy (nats, the sink's share counted as one more key) and largest score (after scale, functors and mask; −inf for
/// a row that sees nothing), F32 [batch, heads, time].
class SinkStatistics {
 public:
  /// `bare` is the attention without sinks, whose weights the bands hold: a dominant sink would leave no digits of
  /// them.
  SinkStatistics(const AttentionInput& in, const Attention& bare);
  void take(const WeightBand& band);
  Tensor entropy, max;

 private:
  const AttentionInput& in_;
  const Attention& bare_;
};

}  // namespace fovea::cli
