// The tensors of a model folder, as layers ask for them.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "nn/weights.hpp"

namespace fovea::models {

class Checkpoint final : public nn::TensorSource {
 public:
  /// A folder with model.safetensors, or with an index and its shards.
  explicit Checkpoint(const std::filesystem::path& folder) : tensors_(folder) {}
  std::string where() const override { return tensors_.where(); }
  std::vector<std::string> names() const override { return tensors_.names(); }
  bool contains(const std::string& name) const override { return tensors_.contains(name); }
  nn::StoredTensor info(const std::string& name) const override {
    const io::TensorInfo& t = tensors_.info(name);
    return {t.dtype, t.stored_as, t.shape};
  }
  Tensor tensor(const std::string& name) const override { return tensors_.tensor(name); }

 private:
  io::SafeTensors tensors_;
};

}  // namespace fovea::models
