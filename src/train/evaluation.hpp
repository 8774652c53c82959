// How well a model translates the demo language: by phenomenon, by length, and the textbook's sentences.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "demo/corpus.hpp"
#include "models/encoder_decoder.hpp"

namespace fovea::train {

struct SetScore {
  std::string name;
  int sentences = 0;
  int exact = 0;              // translations that are the expected one, word for word
  int marked = 0, right = 0;  // words whose translation is decided elsewhere in the sentence (pronouns, senses,
                              // possessives), and those that were translated as it decides
};

/// Greedy translations, </s> left out. The model's token ids are the demo vocabulary's numbers.
std::vector<std::vector<demo::Word>> translate(const models::EncoderDecoder& model,
                                               std::span<const demo::SentencePair> pairs);
/// `each` hears of every set as soon as it is scored. Sentences of a set beyond `most` are left out.
std::vector<SetScore> evaluate(const models::EncoderDecoder& model, int most,
                               const std::function<void(const SetScore&)>& each);

}  // namespace fovea::train
