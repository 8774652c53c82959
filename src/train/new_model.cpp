#include "train/new_model.hpp"

#include <nlohmann/json.hpp>

#include "models/marian.hpp"
#include "models/recurrent.hpp"

namespace fovea::train {
namespace {

constexpr const char* kFile = "the recipe's model";

template <class Model, class Config>
NewModel learner_of(const Config& config, const Start& start) {
  const nn::Weights weights(start, nn::Purpose::Training);
  NewModel made{std::make_shared<const Model>(config, weights), {}, {}};
  made.parameters = weights.trainable();
  made.buffers = weights.ledger().buffers;
  return made;
}

}  // namespace

nlohmann::ordered_json config_json(const Recipe& recipe) {
  return recipe.recurrent ? recurrent_config_json(*recipe.recurrent) : marian_config_json(recipe.model);
}

nlohmann::ordered_json generation_json(const Recipe& recipe) {
  return {{"decoder_start_token_id", 0},      {"eos_token_id", 1}, {"pad_token_id", 0}, {"bad_words_ids", {{0}}},
          {"max_length", recipe.positions()}, {"num_beams", 1},    {"do_sample", false}};
}

NewModel new_model(const Recipe& recipe) {
  const nlohmann::json config = nlohmann::json::parse(config_json(recipe).dump());
  if (recipe.recurrent)
    return learner_of<models::Recurrent>(models::recurrent_config(config, kFile),
                                         RecurrentStart(*recipe.recurrent, recipe.seed));
  return learner_of<models::Marian>(models::marian_config(config, kFile), MarianStart(recipe.model, recipe.seed));
}

}  // namespace fovea::train
