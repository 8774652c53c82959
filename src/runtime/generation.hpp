// How a model's texts are searched for: generation_config.json as a plain struct.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "models/encoder_decoder.hpp"

namespace fovea::runtime {

/// When beam search has enough. Heuristic: as soon as no running beam could beat the worst finished one if it ended
/// now. Full: as soon as there are as many finished ones as beams. Never: only when no running beam could beat it
/// however long it became.
enum class EarlyStop { Heuristic, Full, Never };

/// The search that transformers' generate() makes of the same values.
struct Generation {
  int beams = 1;              // 1: greedy
  int results = 1;            // texts to return, best first; at most `beams`
  double length_penalty = 1;  // scores are sums of log-probabilities over length to this power
  EarlyStop early_stop = EarlyStop::Heuristic;
  int max_length = 0;  // of a text in tokens, start token and end included
  int min_length = 0;  // before the end may come, start token included
  int no_repeat = 0;   // runs of so many tokens occur once; 0: any number of times
  int start = 0;
  std::vector<int> ends;                // any of these ends a text
  std::vector<std::vector<int>> never;  // runs of tokens that do not occur ("bad words")
  std::optional<int> forced_begin,
      forced_end;  // the first token after start; the last one of a text that reaches max_length
};

/// What a folder's generation_config.json says; where there is none, config.json (as folders had it before 2023).
/// Lengths are as many as the model has positions where they are silent. Error for what would change the result and is
/// not supported, naming it.
Generation generation_of(const std::filesystem::path& folder, const models::TargetTokens& tokens,
                         const models::Summary& model);

}  // namespace fovea::runtime
