#include "look/alignment.hpp"

#include <algorithm>

#include "look/choice.hpp"
#include "look/rows.hpp"

namespace fovea::look {
namespace {

Aligned strongest_of(const std::vector<double>& weights, std::span<const Token> source) {
  const bool words = std::ranges::any_of(source, [](const Token& t) { return !t.special; });
  Aligned best{-1, -1};
  for (std::size_t j = 0; j < weights.size(); ++j)
    if (!(words && source[j].special) && weights[j] > best.weight) best = {static_cast<int>(j), weights[j]};
  return best;
}

}  // namespace

std::vector<double> mean_weights(const models::LayerRecord& cross, int sequence, int row, std::span<const int> heads) {
  const std::vector<int> all = all_below(static_cast<int>(cross.q.shape()[2]));
  if (heads.empty()) heads = all;
  std::vector<double> mean;
  for (const int h : heads) {
    const std::vector<float> weights = cross.attention.weights({sequence, h, row});
    mean.resize(weights.size());
    for (std::size_t j = 0; j < weights.size(); ++j)
      mean[j] += static_cast<double>(weights[j]) / static_cast<double>(heads.size());
  }
  return mean;
}

std::vector<Aligned> alignment_path(const models::LayerRecord& cross, int sequence, std::span<const Token> source) {
  std::vector<Aligned> path;
  const int rows = HeadRows(cross, sequence, 0).queries();
  for (int row = 0; row < rows; ++row) path.push_back(strongest_of(mean_weights(cross, sequence, row), source));
  return path;
}

}  // namespace fovea::look
