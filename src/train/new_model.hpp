// The model that a recipe asks for, before it has learnt anything, and the texts of its folder.
#pragma once
#include <memory>

#include <nlohmann/json_fwd.hpp>

#include "models/encoder_decoder.hpp"
#include "train/recipe.hpp"

namespace fovea::train {

struct NewModel {
  std::shared_ptr<const models::EncoderDecoder> model;
  NamedTensors parameters, buffers;  // what it learns, and what it only keeps
};
NewModel new_model(const Recipe& recipe);

nlohmann::ordered_json config_json(const Recipe& recipe);      // config.json
nlohmann::ordered_json generation_json(const Recipe& recipe);  // generation_config.json

}  // namespace fovea::train
