// How attention is learnt: what a translator of the demo language looks at, and whether it matters, step by step.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "demo/sentence.hpp"
#include "models/encoder_decoder.hpp"

namespace fovea::train {

/// One picture of a model. Pronouns are asked for where the expected translation has them, all before them given.
struct Frame {
  std::int64_t step = 0;
  double loss = 0;      // of training, as last reported
  double pronouns = 0;  // share of held-out coreference sentences whose pronoun is likelier than the wrong one
  /// How far log p(right) − log p(wrong) falls when "it" cannot see its noun in any layer or head of the encoder: the
  /// mean over those sentences, and in "The animal didn't cross the street because it was too tired."
  double effect = 0, textbook_effect = 0;
  /// The weight of it → animal in that sentence's encoder: the mean over layers and heads, and the largest.
  double weight = 0, strongest = 0;
};

/// Error for a model whose encoder has no attention.
class Film {
 public:
  /// `sentences` of the held-out coreference sentences are asked for each picture.
  explicit Film(int sentences);
  Frame picture(const models::EncoderDecoder& model) const;

 private:
  struct Question {
    models::Sequence source, target;
    int it = 0, noun = 0;      // positions in the source
    int row = 0;               // of the target, which predicts the pronoun
    int right = 0, wrong = 0;  // ids
  };
  static Question question_of(const demo::SentencePair& pair, const demo::Mark& mark);
  static Question textbook_question();
  /// log p(right) − log p(wrong) of each question.
  static std::vector<double> log_odds(const models::EncoderDecoder& model, std::span<const Question> questions,
                                      bool cut);
  std::vector<Question> questions_;  // the last one is the textbook's
};

}  // namespace fovea::train
