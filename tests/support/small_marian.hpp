// An encoder–decoder small enough to be trained within a test: random tensors by the names of a Marian checkpoint.
#pragma once
#include <string>
#include <vector>

#include "models/config.hpp"
#include "nn/weights.hpp"
#include "support/plain_layers.hpp"

namespace plain {

/// A store as layers ask for it.
class StoreSource final : public fovea::nn::TensorSource {
 public:
  explicit StoreSource(const Store& store) : store_(store) {}
  std::string where() const override { return "small.safetensors"; }
  std::vector<std::string> names() const override;
  bool contains(const std::string& name) const override { return store_.contains(name); }
  fovea::nn::StoredTensor info(const std::string& name) const override;
  fovea::Tensor tensor(const std::string& name) const override { return store_.tensors.at(name); }

 private:
  const Store& store_;
};

/// Width 16, 2 encoder layers and 1 decoder layer, a vocabulary of 23, ids 0 pad and start, 1 end.
fovea::models::MarianConfig small_marian();
Store marian_store(const fovea::models::MarianConfig& c, std::uint64_t seed);

}  // namespace plain
