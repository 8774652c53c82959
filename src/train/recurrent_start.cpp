#include "train/recurrent_start.hpp"

#include <nlohmann/json.hpp>

namespace fovea::train {
namespace {

Shapes shapes_of(const RecurrentSizes& s) {
  Shapes shapes;
  const int gates = 3 * s.width, half = s.width / 2;
  const auto linear = [&](const std::string& scope, int out, bool bias) {
    shapes[scope + ".weight"] = {out, s.width};
    if (bias) shapes[scope + ".bias"] = {out};
  };
  shapes["words.weight"] = {s.vocabulary, s.width};
  for (const std::string suffix : {"_l0", "_l0_reverse"}) {
    shapes["encoder.weight_ih" + suffix] = {3 * half, s.width};
    shapes["encoder.weight_hh" + suffix] = {3 * half, half};
    shapes["encoder.bias_ih" + suffix] = shapes["encoder.bias_hh" + suffix] = {3 * half};
  }
  linear("initial", s.width, true);
  if (s.attention) {
    linear("attention.query", s.width, false);
    linear("attention.key", s.width, true);
    shapes["attention.direction"] = {s.width};  // zeros at first, as Bahdanau et al. have it: all keys weigh alike
  }
  linear("decoder.word", gates, true);
  linear("decoder.context", gates, false);
  linear("decoder.state", gates, true);
  linear("readout.state", s.width, true);
  linear("readout.context", s.width, false);
  linear("readout.word", s.width, false);
  shapes["output.bias"] = {s.vocabulary};
  return shapes;
}

}  // namespace

nlohmann::ordered_json recurrent_config_json(const RecurrentSizes& s) {
  return {{"architectures", {"FoveaRecurrent"}},
          {"model_type", "fovea_recurrent"},
          {"is_encoder_decoder", true},
          {"attention", s.attention ? "additive" : "none"},
          {"vocab_size", s.vocabulary},
          {"hidden_size", s.width},
          {"max_position_embeddings", s.positions},
          {"dropout", s.dropout},
          {"init_std", start_deviation(s.width)},
          {"pad_token_id", 0},
          {"eos_token_id", 1},
          {"decoder_start_token_id", 0}};
}

RecurrentStart::RecurrentStart(const RecurrentSizes& sizes, std::uint64_t seed)
    : Start(shapes_of(sizes), sizes.width, seed) {}

}  // namespace fovea::train
