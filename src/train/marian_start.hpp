// A Marian model before it has learnt anything.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "nn/weights.hpp"

namespace fovea::train {

/// The sizes that a recipe chooses; everything else is as Marian has it.
struct MarianSizes {
  int vocabulary = 0, positions = 128;
  int width = 128, feed_forward = 256, heads = 4;
  int encoder_layers = 4, decoder_layers = 1;
  double dropout = 0.1;
};

/// Its config.json and generation_config.json, as transformers reads them. Token 0 pads and starts, token 1 ends a
/// text.
nlohmann::ordered_json marian_config_json(const MarianSizes& sizes);
nlohmann::ordered_json marian_generation_json(const MarianSizes& sizes);

/// Tensors as they are before the first step: matrices from a normal distribution of deviation 0.6/√width, gains 1,
/// everything else 0. Each depends on the seed and its own name alone.
class MarianStart final : public nn::TensorSource {
 public:
  MarianStart(const MarianSizes& sizes, std::uint64_t seed);
  std::string where() const override { return "a new model"; }
  std::vector<std::string> names() const override;
  bool contains(const std::string& name) const override { return shapes_.contains(name); }
  nn::StoredTensor info(const std::string& name) const override { return {DType::F32, "F32", shapes_.at(name)}; }
  Tensor tensor(const std::string& name) const override;

 private:
  std::map<std::string, Shape> shapes_;
  double deviation_;
  std::uint64_t seed_;
};

}  // namespace fovea::train
