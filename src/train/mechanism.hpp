// What a translator of the demo language resolves a pronoun by: which edges of its encoder decide between il and elle.
#pragma once
#include <string>
#include <vector>

#include "demo/corpus.hpp"
#include "models/encoder_decoder.hpp"

namespace fovea::train {

/// One edge or two, cut in all layers and heads of the encoder, over many sentences.
struct Mechanism {
  std::string from, to;  // "pronoun", "noun" that is meant, "deciding" adjective, the "other" noun; "noun and deciding"
  int sentences = 0;
  int flipped = 0;     // where the wrong pronoun became the likelier of the two
  double effect = 0;   // mean fall of log p(right) − log p(wrong) at the pronoun's step
  int draws = 0;       // random removals of equal weight and similar distance, of all sentences together …
  double control = 0;  // … and their mean effect
};

/// Over the first `most` held-out coreference sentences, each with its expected translation.
std::vector<Mechanism> measure_mechanism(const models::EncoderDecoder& model, int most);

}  // namespace fovea::train
