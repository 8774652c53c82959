// What attention was invented for: three translators that learn the same, asked for longer and longer sentences.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "models/encoder_decoder.hpp"
#include "train/recipe.hpp"

namespace fovea::train {

/// All three take the same steps over the same batches, with the demo recipe's optimiser and schedule.
struct BottleneckSettings {
  bool quick = false;      // small models and short sentences: minutes instead of hours
  std::int64_t steps = 0;  // 0: the demo recipe's, and 2,500 where it is quick
  std::uint64_t seed = 1;
  int sentences = 0;  // of each length, to be scored; 0: all, and 100 where it is quick
};

struct Contender {
  std::string key, name;  // "additive", "GRU with additive attention"
  Recipe recipe;
  std::string recipe_text;  // what identifies it in checkpoints
};
/// The recurrent model without attention, with additive attention, and the Transformer.
std::vector<Contender> contenders(const BottleneckSettings& settings);
/// English words of the longest sentence that they learn from.
int longest_trained(const BottleneckSettings& settings);

/// One of the sets of evaluation_sets() that are made by length.
struct LengthScore {
  std::string set;
  double words = 0;     // English words of a sentence, the mean
  bool trained = true;  // no sentence is longer than what was learnt from
  int sentences = 0, exact = 0;
  double bleu = 0;
};
/// Greedy translations of held-out sentences. `each` hears of every set as soon as it is scored.
std::vector<LengthScore> score_by_length(const models::EncoderDecoder& model, const BottleneckSettings& settings,
                                         const std::function<void(const LengthScore&)>& each);

}  // namespace fovea::train
