// A model folder, and beside it what training needs to go on: both whole or not at all.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "train/adamw.hpp"
#include "train/recipe.hpp"

namespace fovea::train {

/// `folder` becomes a Hugging Face folder: config.json, generation_config.json, tokenizer.json, tokenizer_config.json,
/// model.safetensors. `dtype` of the weights: F32, or F16 / BF16 for a model that is done.
void write_model(const std::filesystem::path& folder, const Recipe& recipe, const std::string& tokenizer_json,
                 const NamedTensors& parameters, const NamedTensors& buffers, DType dtype);

/// Everything that the next step depends on besides the recipe; weights as F32.
struct State {
  std::int64_t step = 0;  // steps that were taken
  NamedTensors parameters, first, second;
};

/// `folder`/training.safetensors.
void write_state(const std::filesystem::path& folder, const State& state, const std::string& recipe);
/// Error when nothing can be written there: better known before hours of learning than after them.
void check_writable(const std::filesystem::path& folder);
/// Error when the file is damaged, or of another recipe than `recipe`, saying which key differs.
State read_state(const std::filesystem::path& folder, const std::string& recipe);
bool has_state(const std::filesystem::path& folder);
/// Whether the folder holds a model: one that is done where it has no state.
bool has_model(const std::filesystem::path& folder);
void remove_state(const std::filesystem::path& folder);

}  // namespace fovea::train
