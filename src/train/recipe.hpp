// What is learnt from what, and how: a recipe is one JSON file.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "train/adamw.hpp"
#include "train/learner.hpp"
#include "train/marian_start.hpp"
#include "train/recurrent_start.hpp"
#include "train/schedule.hpp"

namespace fovea::train {

/// Two line-aligned text files, and the tokenizer.json that reads both; empty: one of at most `vocabulary` tokens is
/// learnt from them.
struct TextFiles {
  std::filesystem::path source, target, tokenizer;
  int vocabulary = 8000;
};

struct Recipe {
  std::optional<TextFiles> files;  // nothing: the demo language
  int pairs = 220'000;             // of the demo language
  std::uint64_t data_seed = 1;
  int longest = 0;  // pairs whose source has more tokens, its end included, are left out; 0: none is
  int held_out =
      0;  // pairs that are not learnt from: the last of the files; of the demo language sentences of the held-out sets

  // Either's vocabulary is as the tokenizer has it.
  MarianSizes model;
  std::optional<RecurrentSizes> recurrent;  // instead of a Marian
  int positions() const { return recurrent ? recurrent->positions : model.positions; }

  std::uint64_t seed = 1;
  Schedule schedule;
  AdamWSettings optimiser;
  StepSettings step;
  std::int64_t tokens_per_batch = 2400;  // source and target tokens
  std::int64_t report_every = 100, checkpoint_every = 500;
  std::int64_t evaluate_every = 0;  // on the pairs that are held out; 0: only when it is done
};

/// Error naming file and key for a key that is unknown, of another type, or out of range. Paths in a recipe are
/// relative to its folder.
Recipe recipe_of(const nlohmann::json& json, const std::filesystem::path& file);
Recipe read_recipe(const std::filesystem::path& file);
/// The recipe of the embedded demo model, word for word as demo/recipe.json says it.
std::string_view demo_recipe_text();

}  // namespace fovea::train
