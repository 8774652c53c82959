// Random questions to Run::measure: edges between positions of a text, in random layers and heads.
#pragma once
#include <string>
#include <vector>

#include <fovea/look.hpp>

#include "support/random.hpp"
#include "support/small_bert.hpp"

namespace fovea::testing {

inline constexpr int kTokens = 10;  // of the text that is asked about

/// Random layers or heads; all of them, said as an empty list, one time in three.
inline std::vector<int> some_below(Rng& rng, int n) {
  std::vector<int> some;
  if (rng.chance(0.33)) return some;
  for (int i = 0; i < n; ++i)
    if (rng.chance(0.5)) some.push_back(i);
  return some;
}

inline MeasureQuery random_cut(Rng& rng, const plain::BertSize& size, int edges) {
  MeasureQuery query;
  for (int i = 0; i < edges; ++i)
    query.cuts.push_back({std::to_string(rng.below(kTokens)), std::to_string(rng.below(kTokens))});
  query.layers = some_below(rng, size.layers), query.heads = some_below(rng, size.heads);
  return query;
}

}  // namespace fovea::testing
