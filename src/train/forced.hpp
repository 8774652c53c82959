// A pair of the demo language as a model reads it when its expected translation is given.
#pragma once
#include "demo/sentence.hpp"
#include "demo/vocabulary.hpp"
#include "models/encoder_decoder.hpp"

namespace fovea::train {

/// English, and </s>. The model's token ids are the demo vocabulary's numbers.
inline models::Sequence source_of(const demo::SentencePair& pair) {
  models::Sequence s{{pair.english.begin(), pair.english.end()}, {}};
  s.ids.push_back(demo::kEnd);
  return s;
}

/// The start token, and French: row i predicts French word i, the last one </s>.
inline models::Sequence target_of(const demo::SentencePair& pair, const models::TargetTokens& tokens) {
  models::Sequence s{{tokens.start}, {}};
  s.ids.insert(s.ids.end(), pair.french.begin(), pair.french.end());
  return s;
}

}  // namespace fovea::train
