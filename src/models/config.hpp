// config.json as plain structs: parsed once, checked, and never trusted for a size before a tensor of that size is there.
#pragma once
#include <filesystem>
#include <map>
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
  /// How many heads pruned_heads takes out of a layer, which shortens the layer's projections (Michel et al. 2019, arXiv 1905.10650; the
  /// format of transformers up to version 4). Layers that keep all of theirs are not listed: `layers` may be any number until it is checked.
  std::map<int, int> pruned;
  int heads_of(int layer) const {
    const auto found = pruned.find(layer);
    return found == pruned.end() ? heads : heads - found->second;
  }
};

/// Marian (Junczys-Dowmunt et al. 2018, arXiv 1804.00344) and BART (Lewis et al. 2019, 1910.13461) are one architecture; what tells
/// them apart are values here.
struct MarianConfig {
  std::string family;        // "marian" or "bart"
  std::string architecture;  // as in BertConfig
  struct Half { int layers = 0, heads = 0, feed_forward = 0; };
  Half encoder, decoder;
  int vocabulary = 0, positions = 0, width = 0;
  Activation activation = Activation::Relu;
  bool scaled_embedding = false;   // token vectors are multiplied by √width
  bool learned_positions = false;  // a table in the file, with kPositionOffset rows before position 0; otherwise sinusoids, not stored
  bool embedding_norm = false;     // a norm over the sum of token and position
  bool tied = true;                // the output layer is the embedding
  int start = 0, end = 0, pad = 0;  // token ids: what the decoder begins with, what ends a text, what fills a batch
  float dropout = 0, activation_dropout = 0;  // in training

  static constexpr int kPositionOffset = 2;
  static constexpr float kEps = 1e-5f;  // of layer norms; not in config.json
};

/// Throws Error naming the file, the key, what was expected and found. `file` is for messages.
BertConfig bert_config(const nlohmann::json& config, const std::filesystem::path& file);
MarianConfig marian_config(const nlohmann::json& config, const std::filesystem::path& file);

}  // namespace fovea::models
