#include "models/config.hpp"

#include <fmt/format.h>
#include <fovea/error.hpp>

#include "io/json.hpp"
#include "io/quote.hpp"

namespace fovea::models {
namespace {

using io::optional_or;
using io::required;

// Far beyond any model there is, and small enough that products of two sizes stay far within int64.
constexpr int kMost = 1 << 30;

/// {"0": "negative", "1": "positive"} as a list.
std::vector<std::string> class_labels(const nlohmann::json& config, const std::filesystem::path& file) {
  const auto map = config.find("id2label");
  if (map == config.end() || map->is_null()) return {};
  if (!map->is_object()) {
    throw Error(fmt::format("{}: id2label is a {}; expected an object from class numbers to names", file.string(), map->type_name()));
  }
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < map->size(); ++i) {
    const auto label = map->find(fmt::format("{}", i));
    if (label == map->end() || !label->is_string()) {
      throw Error(fmt::format("{}: id2label has {} entries and none that names class {}; expected \"0\" to \"{}\", each with a name",
                              file.string(), map->size(), i, map->size() - 1));
    }
    labels.push_back(label->get<std::string>());
  }
  return labels;
}

std::string architecture_of(const nlohmann::json& config, const std::filesystem::path& file) {
  const auto names = optional_or<std::vector<std::string>>(config, "architectures", {}, file);
  return names.empty() ? "" : names.front();
}

Activation activation_in(const nlohmann::json& config, const std::filesystem::path& file) {
  const auto name = optional_or<std::string>(config, "hidden_act", "gelu", file);
  try {
    return activation_of(name);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: hidden_act: {}", file.string(), e.what()));
  }
}

/// What is left out would change the result without a word.
void refuse_variants(const nlohmann::json& config, const std::filesystem::path& file) {
  const auto positions = optional_or<std::string>(config, "position_embedding_type", "absolute", file);
  if (positions != "absolute") {
    throw Error(fmt::format("{}: position_embedding_type is {}; only \"absolute\" is supported", file.string(), io::in_quotes(positions)));
  }
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    if (optional_or<bool>(config, key, false, file)) {
      throw Error(fmt::format("{}: {} is true; a BERT that is used as a decoder is not supported, only encoders are", file.string(), key));
    }
  }
}

}  // namespace

BertConfig bert_config(const nlohmann::json& config, const std::filesystem::path& file) {
  refuse_variants(config, file);
  const auto size = [&](const char* key) { return required<int>(config, key, file, {1, kMost}); };
  BertConfig c;
  c.architecture = architecture_of(config, file);
  c.width = size("hidden_size");
  c.heads = size("num_attention_heads");
  c.layers = size("num_hidden_layers");
  c.feed_forward = size("intermediate_size");
  c.vocabulary = size("vocab_size");
  c.positions = optional_or<int>(config, "max_position_embeddings", 512, file, {1, kMost});
  c.types = optional_or<int>(config, "type_vocab_size", 2, file, {0, kMost});
  c.eps = static_cast<float>(optional_or<double>(config, "layer_norm_eps", 1e-12, file, {0, 1}));
  c.activation = activation_in(config, file);
  c.tied = optional_or<bool>(config, "tie_word_embeddings", true, file);
  c.labels = class_labels(config, file);
  if (c.width % c.heads != 0) {
    throw Error(fmt::format("{}: hidden_size is {} and num_attention_heads is {}; expected a multiple of it", file.string(), c.width, c.heads));
  }
  return c;
}

}  // namespace fovea::models
