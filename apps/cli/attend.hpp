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

}  // namespace fovea::cli
