// What a recipe learns from: pairs of token ids, and the tokenizer that made them.
#pragma once
#include <string>
#include <vector>

#include "train/batches.hpp"
#include "train/recipe.hpp"

namespace fovea::train {

struct Data {
  std::vector<Pair> pairs;
  std::vector<Pair> held_out;  // recipe.held_out of them, or all that there are of the demo language
  std::string tokenizer_json;
  int vocabulary = 0;
};

/// Error when the two files have different numbers of lines (naming both), a line is empty, or a text has more tokens
/// than the model has positions, or nothing is left to learn from, or the tokenizer does not end a text with token 1.
Data data_of(const Recipe& recipe);

}  // namespace fovea::train
