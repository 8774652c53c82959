#include "models/config.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

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

Activation activation_in(const nlohmann::json& config, const char* key, const std::filesystem::path& file) {
  const auto name = optional_or<std::string>(config, key, "gelu", file);
  try {
    return activation_of(name);
  } catch (const Error& e) {
    throw Error(fmt::format("{}: {}: {}", file.string(), key, e.what()));
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

/// {"0": [1, 3], "4": [0]}: heads that each layer lacks, by their numbers before any was taken.
std::map<int, int> pruned_in(const nlohmann::json& config, const BertConfig& c, const std::filesystem::path& file) {
  std::map<int, int> pruned;
  const auto map = config.find("pruned_heads");
  if (map == config.end() || map->is_null()) return pruned;
  const auto fail = [&](const std::string& found) {
    throw Error(fmt::format("{}: pruned_heads {}; expected an object from layers 0 to {} to lists of heads 0 to {}, each once and never "
                            "all of a layer", file.string(), found, c.layers - 1, c.heads - 1));
  };
  if (!map->is_object()) fail(fmt::format("is a JSON {}", map->type_name()));
  for (const auto& [key, list] : map->items()) {
    int layer = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), layer);
    if (error != std::errc() || end != key.data() + key.size() || layer < 0 || layer >= c.layers) fail("names layer " + io::in_quotes(key));
    if (pruned.contains(layer)) fail("names layer " + io::in_quotes(key) + " again");
    if (!list.is_array()) fail(fmt::format("has a JSON {} for layer {}", list.type_name(), layer));
    std::set<int> heads;
    for (const nlohmann::json& head : list) {
      if (!head.is_number_integer() || head < 0 || head >= c.heads) fail(fmt::format("names head {} of layer {}", io::escaped(head.dump()), layer));
      if (!heads.insert(head.get<int>()).second) fail(fmt::format("names head {} of layer {} twice", head.get<int>(), layer));
    }
    if (std::ssize(heads) == c.heads) fail(fmt::format("leaves layer {} none of its {} heads", layer, c.heads));
    pruned[layer] = static_cast<int>(heads.size());
  }
  return pruned;
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
  c.activation = activation_in(config, "hidden_act", file);
  c.tied = optional_or<bool>(config, "tie_word_embeddings", true, file);
  c.labels = class_labels(config, file);
  if (c.width % c.heads != 0) {
    throw Error(fmt::format("{}: hidden_size is {} and num_attention_heads is {}; expected a multiple of it", file.string(), c.width, c.heads));
  }
  c.pruned = pruned_in(config, c, file);
  return c;
}

namespace {

/// What would translate otherwise than the checkpoint was trained to, without a word.
void refuse_variants(const nlohmann::json& config, const MarianConfig& c, const std::filesystem::path& file) {
  const int decoder_vocabulary = optional_or<int>(config, "decoder_vocab_size", c.vocabulary, file);
  if (!optional_or<bool>(config, "share_encoder_decoder_embeddings", true, file) || decoder_vocabulary != c.vocabulary) {
    throw Error(fmt::format("{}: encoder and decoder have vocabularies of their own (share_encoder_decoder_embeddings is false, or "
                            "decoder_vocab_size {} is not vocab_size {}); only shared ones are supported", file.string(),
                            decoder_vocabulary, c.vocabulary));
  }
  if (!optional_or<bool>(config, "is_encoder_decoder", true, file))
    throw Error(fmt::format("{}: is_encoder_decoder is false; one half alone is not supported", file.string()));
  for (const char* key : {"normalize_before", "add_final_layer_norm"}) {
    if (optional_or<bool>(config, key, false, file))
      throw Error(fmt::format("{}: {} is true; only norms after each half of a layer are supported", file.string(), key));
  }
}

}  // namespace

MarianConfig marian_config(const nlohmann::json& config, const std::filesystem::path& file) {
  const auto size = [&](const char* key) { return required<int>(config, key, file, {1, kMost}); };
  const auto rate = [&](const char* key) { return optional_or<float>(config, key, 0.0f, file, {0, 1}); };
  MarianConfig c;
  c.family = required<std::string>(config, "model_type", file);
  c.architecture = architecture_of(config, file);
  const bool bart = c.family == "bart";
  c.learned_positions = c.embedding_norm = bart;
  c.width = size("d_model");
  c.vocabulary = size("vocab_size");
  // Sinusoids are worked out for all of them at once, and no tensor in the file says how many are true.
  constexpr int kMostSinusoids = 1 << 20;
  c.positions = optional_or<int>(config, "max_position_embeddings", 1024, file, {1, bart ? kMost : kMostSinusoids});
  c.encoder = {size("encoder_layers"), size("encoder_attention_heads"), size("encoder_ffn_dim")};
  c.decoder = {size("decoder_layers"), size("decoder_attention_heads"), size("decoder_ffn_dim")};
  c.activation = activation_in(config, "activation_function", file);
  c.scaled_embedding = optional_or<bool>(config, "scale_embedding", false, file);
  c.tied = optional_or<bool>(config, "tie_word_embeddings", true, file);
  const auto token = [&](const char* key, int otherwise) {
    return optional_or<int>(config, key, otherwise, file, {0, c.vocabulary - 1});
  };
  c.pad = token("pad_token_id", bart ? 1 : std::min(58100, c.vocabulary - 1));
  c.end = token("eos_token_id", bart ? 2 : 0);
  c.start = token("decoder_start_token_id", bart ? 2 : c.pad);
  c.dropout = rate("dropout");
  c.activation_dropout = rate("activation_dropout");
  refuse_variants(config, c, file);
  for (const auto& [key, half] : {std::pair{"encoder_attention_heads", c.encoder}, std::pair{"decoder_attention_heads", c.decoder}}) {
    if (c.width % half.heads != 0)
      throw Error(fmt::format("{}: d_model is {} and {} is {}; expected a multiple of it", file.string(), c.width, key, half.heads));
  }
  return c;
}

}  // namespace fovea::models
