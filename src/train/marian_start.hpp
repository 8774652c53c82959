// A Marian model before it has learnt anything.
#pragma once
#include <cstdint>

#include <nlohmann/json_fwd.hpp>

#include "train/start.hpp"

namespace fovea::train {

/// The sizes that a recipe chooses; everything else is as Marian has it.
struct MarianSizes {
  int vocabulary = 0, positions = 128;
  int width = 128, feed_forward = 256, heads = 4;
  int encoder_layers = 4, decoder_layers = 1;
  double dropout = 0.1;
};

/// Its config.json, as transformers reads it. Token 0 pads and starts, token 1 ends a text.
nlohmann::ordered_json marian_config_json(const MarianSizes& sizes);

class MarianStart final : public Start {
 public:
  MarianStart(const MarianSizes& sizes, std::uint64_t seed);
};

}  // namespace fovea::train
