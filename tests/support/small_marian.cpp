#include "support/small_marian.hpp"

#include <fmt/format.h>

namespace plain {

std::vector<std::string> StoreSource::names() const {
  std::vector<std::string> all;
  for (const auto& [name, tensor] : store_.tensors) all.push_back(name);
  return all;
}

fovea::nn::StoredTensor StoreSource::info(const std::string& name) const {
  const fovea::Tensor& t = store_.tensors.at(name);
  return {t.dtype(), fovea::name_of(t.dtype()), t.shape()};
}

fovea::models::MarianConfig small_marian() {
  fovea::models::MarianConfig c;
  c.family = "marian";
  c.encoder = {2, 2, 20};
  c.decoder = {1, 4, 24};
  c.vocabulary = 23, c.positions = 20, c.width = 16;
  c.activation = fovea::Activation::Gelu;
  c.scaled_embedding = true;
  c.start = c.pad = 0, c.end = 1;
  return c;
}

Store marian_store(const fovea::models::MarianConfig& c, std::uint64_t seed) {
  Store store(seed);
  store.add("model.shared.weight", {c.vocabulary, c.width});
  store.add("final_logits_bias", {1, c.vocabulary});
  const auto half = [&](const char* name, const fovea::models::MarianConfig::Half& h,
                        std::vector<std::string> attentions) {
    for (int i = 0; i < h.layers; ++i) {
      const std::string layer = fmt::format("model.{}.layers.{}.", name, i);
      for (const std::string& a : attentions) {
        for (const char* p : {"q_proj", "k_proj", "v_proj", "out_proj"})
          store.add_linear(layer + a + "." + p, c.width, c.width);
        store.add_norm(layer + a + "_layer_norm", c.width);
      }
      store.add_linear(layer + "fc1", c.width, h.feed_forward);
      store.add_linear(layer + "fc2", h.feed_forward, c.width);
      store.add_norm(layer + "final_layer_norm", c.width);
    }
  };
  half("encoder", c.encoder, {"self_attn"});
  half("decoder", c.decoder, {"self_attn", "encoder_attn"});
  return store;
}

}  // namespace plain
