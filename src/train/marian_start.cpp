#include "train/marian_start.hpp"

#include <cmath>
#include <numbers>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "demo/draw.hpp"

namespace fovea::train {
namespace {

double init_deviation(const MarianSizes& s) { return 0.6 / std::sqrt(static_cast<double>(s.width)); }

/// FNV-1a: a number of its own for every name, the same everywhere.
std::uint64_t number_of(const std::string& name) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

}  // namespace

nlohmann::ordered_json marian_config_json(const MarianSizes& s) {
  return {{"architectures", {"MarianMTModel"}},
          {"model_type", "marian"},
          {"is_encoder_decoder", true},
          {"vocab_size", s.vocabulary},
          {"decoder_vocab_size", s.vocabulary},
          {"d_model", s.width},
          {"encoder_layers", s.encoder_layers},
          {"decoder_layers", s.decoder_layers},
          {"encoder_attention_heads", s.heads},
          {"decoder_attention_heads", s.heads},
          {"encoder_ffn_dim", s.feed_forward},
          {"decoder_ffn_dim", s.feed_forward},
          {"activation_function", "relu"},
          {"max_position_embeddings", s.positions},
          {"dropout", s.dropout},
          {"attention_dropout", 0.0},
          {"activation_dropout", 0.0},
          {"init_std", init_deviation(s)},
          {"scale_embedding", true},
          {"share_encoder_decoder_embeddings", true},
          {"tie_word_embeddings", true},
          {"pad_token_id", 0},
          {"eos_token_id", 1},
          {"bos_token_id", nullptr},
          {"forced_eos_token_id", nullptr},
          {"decoder_start_token_id", 0},
          {"use_cache", true}};
}

nlohmann::ordered_json marian_generation_json(const MarianSizes& s) {
  return {{"decoder_start_token_id", 0}, {"eos_token_id", 1}, {"pad_token_id", 0}, {"bad_words_ids", {{0}}},
          {"max_length", s.positions},   {"num_beams", 1},    {"do_sample", false}};
}

MarianStart::MarianStart(const MarianSizes& s, std::uint64_t seed) : deviation_(init_deviation(s)), seed_(seed) {
  const auto linear = [&](const std::string& scope, int in, int out) {
    shapes_[scope + ".weight"] = {out, in};
    shapes_[scope + ".bias"] = {out};
  };
  const auto norm = [&](const std::string& scope) {
    shapes_[scope + ".weight"] = shapes_[scope + ".bias"] = {s.width};
  };
  const auto attention = [&](const std::string& scope) {
    for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"})
      linear(fmt::format("{}.{}", scope, part), s.width, s.width);
    norm(scope + "_layer_norm");
  };
  const auto layer = [&](const std::string& scope, bool decoder) {
    attention(scope + ".self_attn");
    if (decoder) attention(scope + ".encoder_attn");
    linear(scope + ".fc1", s.width, s.feed_forward);
    linear(scope + ".fc2", s.feed_forward, s.width);
    norm(scope + ".final_layer_norm");
  };
  shapes_["model.shared.weight"] = {s.vocabulary, s.width};
  shapes_["final_logits_bias"] = {1, s.vocabulary};
  for (int i = 0; i < s.encoder_layers; ++i) layer(fmt::format("model.encoder.layers.{}", i), false);
  for (int i = 0; i < s.decoder_layers; ++i) layer(fmt::format("model.decoder.layers.{}", i), true);
}

std::vector<std::string> MarianStart::names() const {
  std::vector<std::string> names;
  for (const auto& [name, shape] : shapes_) names.push_back(name);
  return names;
}

Tensor MarianStart::tensor(const std::string& name) const {
  Tensor t(DType::F32, shapes_.at(name));
  const bool matrix = t.shape().rank() == 2 && name != "final_logits_bias", gain = name.ends_with("norm.weight");
  if (gain)
    for (float& x : t.values<float>()) x = 1;
  if (!matrix) return t;
  demo::Draw draw(seed_, 0x7374617274, number_of(name));
  const auto unit = [&] { return (static_cast<double>(draw.next() >> 11) + 0.5) * 0x1p-53; };
  for (float& x : t.values<float>()) {  // Box & Muller 1958
    const double radius = std::sqrt(-2 * std::log(unit()));
    x = static_cast<float>(deviation_ * radius * std::cos(2 * std::numbers::pi * unit()));
  }
  return t;
}

}  // namespace fovea::train
