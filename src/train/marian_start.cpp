#include "train/marian_start.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace fovea::train {
namespace {

Shapes shapes_of(const MarianSizes& s) {
  Shapes shapes;
  const auto linear = [&](const std::string& scope, int in, int out) {
    shapes[scope + ".weight"] = {out, in};
    shapes[scope + ".bias"] = {out};
  };
  const auto norm = [&](const std::string& scope) { shapes[scope + ".weight"] = shapes[scope + ".bias"] = {s.width}; };
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
  shapes["model.shared.weight"] = {s.vocabulary, s.width};
  shapes["final_logits_bias"] = {1, s.vocabulary};
  for (int i = 0; i < s.encoder_layers; ++i) layer(fmt::format("model.encoder.layers.{}", i), false);
  for (int i = 0; i < s.decoder_layers; ++i) layer(fmt::format("model.decoder.layers.{}", i), true);
  return shapes;
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
          {"init_std", start_deviation(s.width)},
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

MarianStart::MarianStart(const MarianSizes& sizes, std::uint64_t seed) : Start(shapes_of(sizes), sizes.width, seed) {}

}  // namespace fovea::train
