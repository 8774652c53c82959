// config.json as plain structs: parsed once, checked, and never trusted for a size before a tensor of that size is there.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "ops/pointwise.hpp"

namespace fovea::models {

struct BertConfig {
  std::string architecture;  // the first of `architectures`; may be empty
  int vocabulary = 0, positions = 0;
  int types = 0;  // token types; 0: the model has no such table
  int width = 0, layers = 0, heads = 0, feed_forward = 0;
  float eps = 0;     // of layer norms
  Activation activation = Activation::Gelu;
  bool tied = true;  // the decoder of the masked-LM head is the word embedding
  std::vector<std::string> labels;  // by class index; empty where the file is silent
};

/// Throws Error naming the file, the key, what was expected and found. `file` is for messages.
BertConfig bert_config(const nlohmann::json& config, const std::filesystem::path& file);

}  // namespace fovea::models
