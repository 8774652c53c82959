#include "look/recording.hpp"

#include <numeric>

#include <fmt/format.h>

#include <fovea/error.hpp>

namespace fovea {

std::int64_t Recording::bytes() const {
  return std::accumulate(layers.begin(), layers.end(), hidden_bytes,
                         [](std::int64_t sum, const Layer& layer) { return sum + layer.bytes; });
}

namespace look {
namespace {

constexpr std::int64_t kBytes = 4;  // F32

/// q, out [queries, heads, dim], k, v [keys, kv_heads, dim], LSE and greatest score [heads, queries].
std::int64_t layer_bytes(const models::Summary& m, std::int64_t queries, std::int64_t keys) {
  const std::int64_t heads = m.heads, kv = m.kv_heads, dim = m.head_dim;
  if (m.self_attention) return kBytes * (2 * queries * heads * dim + 2 * keys * kv * dim + 2 * heads * queries);
  // Additive attention keeps the weights themselves, and their values; queries and keys are one number each.
  return kBytes * (queries + keys + (queries + keys) * dim + 2 * queries + queries * keys);
}

}  // namespace

Recording recording_of(const models::Summary& model, std::int64_t tokens, std::int64_t written) {
  Recording r;
  const auto add = [&](const char* kind, int layers, std::int64_t queries, std::int64_t keys) {
    for (int layer = 0; layer < layers; ++layer) {
      r.layers.push_back({kind, layer, layer_bytes(model, queries, keys)});
      r.matrices_bytes += kBytes * model.heads * queries * keys;
    }
  };
  const int decoder = written > 0 ? model.decoder_layers : 0;
  if (model.self_attention) add("encoder", model.layers, tokens, tokens), add("decoder", decoder, written, written);
  if (model.heads > 0) add("cross", decoder, written, tokens);
  r.hidden_bytes = kBytes * model.width * ((model.layers + 1) * tokens + (decoder > 0 ? decoder + 1 : 0) * written);
  return r;
}

void check_limit(const models::Summary& model, std::int64_t limit, std::int64_t tokens, std::int64_t written) {
  if (limit <= 0) return;
  const auto bytes = [&](std::int64_t n) { return recording_of(model, n, written).bytes(); };
  const std::int64_t kept = bytes(tokens);
  if (kept <= limit) return;
  std::int64_t fits = 0, over = tokens;  // the most tokens that fit, and some that don't
  while (over - fits > 1) {
    const std::int64_t middle = fits + (over - fits) / 2;
    (bytes(middle) <= limit ? fits : over) = middle;
  }
  const std::string text = written > 0 ? fmt::format("{} tokens and a translation of {}", tokens, written)
                                       : fmt::format("{} tokens", tokens);
  throw Error(
      fmt::format("recording {} keeps {} bytes, and the limit is {}; {}", text, kept, limit,
                  fits > 0 ? fmt::format("a text of {} tokens fits, or raise the limit", fits) : "raise the limit"));
}

}  // namespace look
}  // namespace fovea
