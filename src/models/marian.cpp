#include "models/marian.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "models/checkpoint.hpp"
#include "models/common.hpp"
#include "models/repeat.hpp"
#include "models/stack.hpp"
#include "ops/dropout.hpp"
#include "ops/embedding.hpp"

namespace fovea::models {
namespace {

constexpr nn::AttentionNames kSelf{
    {"self_attn.q_proj"}, {"self_attn.k_proj"}, {"self_attn.v_proj"}, {"self_attn.out_proj"}};
constexpr nn::AttentionNames kCross{
    {"encoder_attn.q_proj"}, {"encoder_attn.k_proj"}, {"encoder_attn.v_proj"}, {"encoder_attn.out_proj"}};
constexpr nn::FeedForwardNames kFeedForward{"fc1", "fc2"};
constexpr nn::EncoderLayerNames kEncoderLayer{kSelf, "self_attn_layer_norm", kFeedForward, "final_layer_norm"};
constexpr nn::DecoderLayerNames kDecoderLayer{kSelf,        "self_attn_layer_norm", kCross, "encoder_attn_layer_norm",
                                              kFeedForward, "final_layer_norm"};

/// Vaswani et al. 2017, §3.5, with all sines before all cosines: F32 [positions, width].
Tensor sinusoids(std::int64_t positions, std::int64_t width) {
  Tensor table = Tensor::unset(DType::F32, {positions, width});
  const std::int64_t sines = (width + 1) / 2;
  for (std::int64_t pair = 0; pair < sines; ++pair) {
    const double wavelength = std::pow(10000.0, 2 * static_cast<double>(pair) / static_cast<double>(width));  // over 2π
    float* to = table.data<float>() + pair;
    for (std::int64_t p = 0; p < positions; ++p, to += width) {
      const double angle = static_cast<double>(p) / wavelength;
      to[0] = static_cast<float>(std::sin(angle));
      if (sines + pair < width) to[sines] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

/// Copies of the shared table under its other names, sinusoids that old files store, and what BART's classifier adds.
bool left_by_marian(std::string_view name) {
  return name.ends_with("embed_tokens.weight") || name.ends_with("embed_positions.weight") ||
         name == "lm_head.weight" || name.starts_with("classification_head.");
}

nn::AttentionShape attention_shape(int width, int heads) {
  return {width, width, heads, heads, width / heads, width / heads};
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------------
// loading

std::unique_ptr<EncoderDecoder> load_marian(const std::filesystem::path& folder, const nlohmann::json& config) {
  const MarianConfig checked = marian_config(config, folder / "config.json");
  const Checkpoint checkpoint(folder);
  return std::make_unique<Marian>(checked, nn::Weights(checkpoint));
}

Marian::Marian(const MarianConfig& config, const nn::Weights& weights) : config_(config), purpose_(weights.purpose()) {
  const nn::Weights base = weights / "model", encoder = base / "encoder", decoder = base / "decoder";
  const MarianConfig& c = config_;
  check_layers(encoder / "layers", c.encoder.layers, "encoder_layers");
  check_layers(decoder / "layers", c.decoder.layers, "decoder_layers");
  const bool shared = base.contains("shared.weight") || !decoder.contains("embed_tokens.weight");
  words_ = {shared ? base / "shared" : decoder / "embed_tokens", c.vocabulary, c.width};
  encoder_entrance_ = load_entrance(encoder);
  decoder_entrance_ = load_entrance(decoder);
  if (!c.learned_positions) encoder_entrance_.positions = decoder_entrance_.positions = sinusoids(c.positions, c.width);
  const nn::EncoderLayerShape encoder_shape{.attention = attention_shape(c.width, c.encoder.heads),
                                            .feed_forward = c.encoder.feed_forward,
                                            .activation = c.activation,
                                            .eps = MarianConfig::kEps,
                                            .dropout = c.dropout,
                                            .activation_dropout = c.activation_dropout};
  const nn::DecoderLayerShape decoder_shape{.self = attention_shape(c.width, c.decoder.heads),
                                            .cross = attention_shape(c.width, c.decoder.heads),
                                            .feed_forward = c.decoder.feed_forward,
                                            .activation = c.activation,
                                            .eps = MarianConfig::kEps,
                                            .dropout = c.dropout,
                                            .activation_dropout = c.activation_dropout};
  for (int i = 0; i < c.encoder.layers; ++i)
    encoder_.emplace_back(encoder / "layers" / i, kEncoderLayer, encoder_shape);
  for (int i = 0; i < c.decoder.layers; ++i)
    decoder_.emplace_back(decoder / "layers" / i, kDecoderLayer, decoder_shape);
  load_output(weights);
  summarize(weights);
}

Marian::Entrance Marian::load_entrance(const nn::Weights& weights) const {
  Entrance e;
  if (config_.learned_positions)
    e.positions =
        (weights / "embed_positions").f32("weight", {config_.positions + MarianConfig::kPositionOffset, config_.width});
  if (config_.embedding_norm) e.norm = {weights / "layernorm_embedding", config_.width, MarianConfig::kEps};
  return e;
}

void Marian::load_output(const nn::Weights& weights) {
  output_weight_ =
      config_.tied ? words_.table() : (weights / "lm_head").tensor("weight", {config_.vocabulary, config_.width});
  output_bias_ = weights.buffer("final_logits_bias", {1, config_.vocabulary}).reshape({config_.vocabulary});
}

void Marian::summarize(const nn::Weights& weights) {
  summary_ = {.family = config_.family,
              .architecture = config_.architecture,
              .layers = config_.encoder.layers,
              .heads = config_.encoder.heads,
              .kv_heads = config_.encoder.heads,
              .head_dim = config_.width / config_.encoder.heads,
              .width = config_.width,
              .feed_forward = config_.encoder.feed_forward,
              .positions = config_.positions,
              .vocabulary = config_.vocabulary,
              .decoder_layers = config_.decoder.layers,
              .weights_dtype = {},
              .warnings = {}};
  describe_weights(summary_, weights, left_by_marian);
}

// ------------------------------------------------------------------------------------------------------------------
// running

void Marian::check(std::span<const Sequence> sequences) const {
  check_lengths(sequences, config_.positions);
  for (std::size_t i = 0; i < sequences.size(); ++i)
    words_.check(sequences[i].ids, fmt::format("sequence {}: token id", i));
}

Tensor Marian::embed(const Entrance& entrance, std::span<const int> ids, std::vector<int> positions) const {
  if (config_.learned_positions)
    for (int& p : positions) p += MarianConfig::kPositionOffset;
  Tensor x = words_(ids);  // [tokens, width]
  if (config_.scaled_embedding) x = scale(std::move(x), std::sqrt(static_cast<double>(config_.width)));
  x = add(std::move(x), embedding(entrance.positions, positions));  // [tokens, width]
  if (config_.embedding_norm) x = entrance.norm(x);
  return dropout(std::move(x), config_.dropout);
}

Result Marian::encode(std::span<const Sequence> sources, const Pass& pass) const {
  check(sources);
  return run_encoder(encoder_, config_.width, sources, pass, [&](std::int64_t) {
    return embed(encoder_entrance_, packed_ids(sources), packed_positions(sources));
  });
}

Result Marian::decode(const Result& sources, std::span<const Sequence> targets, const DecoderPass& pass) const {
  check(targets);
  if (sources.ends.size() != targets.size())
    throw Error(
        fmt::format("decode: {} sources and {} targets; expected as many", sources.ends.size(), targets.size()));
  if (repeats(pass)) return repeat_decoder(decoder_, sources, pass);
  Stack stack(pass, targets);
  const std::vector<int>& ends = *stack.ends();
  const Ends key_ends = std::make_shared<const std::vector<int>>(sources.ends);
  keep_for_backward(key_ends);
  const auto run = [&](int i, const Tensor& x) {
    const nn::DecoderLayer& layer = decoder_[static_cast<std::size_t>(i)];
    const AnyMask seen = pass.mask ? AnyMask(causal() & pass.mask(i)) : AnyMask(causal());
    const AnyMask read = pass.cross_mask ? pass.cross_mask(i) : AnyMask();
    Stack::Attending self(stack, "decoder", i, AttentionSpec(packed(ends), seen), {pass.values, pass.heads});
    Stack::Attending cross(stack, "cross", i, AttentionSpec(packed(ends, *key_ends), read),
                           {pass.cross_values, pass.cross_heads}, key_ends);
    Tensor y = layer(x, sources.hidden, self.pass(), cross.pass());
    self.keep(layer.self_attention());
    cross.keep(layer.cross_attention());
    return y;
  };
  return std::move(stack).run(
      config_.decoder.layers, config_.width,
      [&](std::int64_t) { return embed(decoder_entrance_, packed_ids(targets), packed_positions(targets)); }, run);
}

Tensor Marian::vocabulary_logits(const Tensor& hidden) const {
  std::call_once(once_, [&] { output_ = {output_weight_, output_bias_, purpose_}; });
  return output_(hidden);
}

}  // namespace fovea::models
