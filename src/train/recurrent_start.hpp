// A recurrent model before it has learnt anything.
#pragma once
#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include "train/start.hpp"

namespace fovea::train {

/// The sizes that a recipe chooses, see models/recurrent.hpp.
struct RecurrentSizes {
  bool attention = true;
  int vocabulary = 0, positions = 128;
  int width = 256;
  double dropout = 0.1;
};

/// Its config.json. Token 0 pads and starts, token 1 ends a text.
nlohmann::ordered_json recurrent_config_json(const RecurrentSizes& sizes);

class RecurrentStart final : public Start {
 public:
  RecurrentStart(const RecurrentSizes& sizes, std::uint64_t seed);
};

}  // namespace fovea::train
