// Searching for the text that a model would write: greedily, or with beams.
#pragma once
#include <span>
#include <vector>

#include "models/encoder_decoder.hpp"
#include "runtime/generation.hpp"

namespace fovea::runtime {

struct Written {
  std::vector<int> ids;  // from the start token on; the last one ends the text, unless max_length was reached
  double score = 0;      // Σ log p of what follows the start token, over (their number)^length_penalty
};

/// One text (or how.results of them, best first) for each source, as transformers' generate() finds them. Any number of
/// sources: they run in batches, packed along time, and what is finished leaves its batch.
std::vector<std::vector<Written>> write(const models::EncoderDecoder& model, std::span<const models::Sequence> sources,
                                        const Generation& how);

}  // namespace fovea::runtime
