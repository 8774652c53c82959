// Sequences that are packed along time, as recurrent layers want them: padded, time first.
#pragma once
#include <algorithm>
#include <span>
#include <vector>

namespace fovea::models {

/// Rows of the two layouts by each other: embedding() moves them, and their gradients back.
struct TimeFirst {
  int time = 0, batch = 0;
  std::vector<int> lengths;  // [batch]
  std::vector<int> rows;     // [time · batch]: the packed row of each; where a sequence is over its last one
  std::vector<int> packed;   // [tokens]: the padded row of each

  explicit TimeFirst(std::span<const int> ends) : batch(static_cast<int>(ends.size())) {
    for (int begin = 0; const int end : ends) lengths.push_back(end - begin), begin = end;
    time = lengths.empty() ? 0 : *std::ranges::max_element(lengths);
    for (int t = 0; t < time; ++t)
      for (int b = 0; b < batch; ++b) {
        const int end = ends[static_cast<std::size_t>(b)], length = lengths[static_cast<std::size_t>(b)];
        rows.push_back(end - length + std::min(t, length - 1));
      }
    for (int b = 0; b < batch; ++b)
      for (int t = 0; t < lengths[static_cast<std::size_t>(b)]; ++t) packed.push_back(t * batch + b);
  }
};

}  // namespace fovea::models
