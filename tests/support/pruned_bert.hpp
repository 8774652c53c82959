// A small BERT with some heads cut out of its tensors, as transformers' prune_heads leaves them.
#pragma once
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "support/text_bert.hpp"

namespace plain {

/// Rows (or, of the output's weight, columns) of the heads that stay.
inline fovea::Tensor without_heads(const fovea::Tensor& t, const std::set<int>& heads, int dim, bool columns) {
  const std::int64_t rows = t.shape()[0], width = t.shape().rank() == 2 ? t.shape()[1] : 1;
  std::vector<float> left;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < width; ++c)
      if (!heads.contains(static_cast<int>((columns ? c : r) / dim))) left.push_back(t.data<float>()[r * width + c]);
  const auto n = static_cast<std::int64_t>(left.size());
  fovea::Tensor cut(fovea::DType::F32, t.shape().rank() == 1 ? fovea::Shape{n}
                                       : columns             ? fovea::Shape{rows, n / rows}
                                                             : fovea::Shape{n / width, width});
  std::ranges::copy(left, cut.data<float>());
  return cut;
}

/// Beside the checkpoint's own folder, and as long-lived.
inline std::filesystem::path pruned_folder(const Checkpoint& c, const std::map<int, std::set<int>>& pruned,
                                           nlohmann::json extra) {
  Store store = c.store;
  for (const auto& [layer, heads] : pruned) {
    const std::string scope = "bert.encoder.layer." + std::to_string(layer) + ".attention.";
    const int dim = c.size.width / c.size.heads;
    for (const char* name : {"self.query", "self.key", "self.value"})
      for (const char* part : {".weight", ".bias"}) {
        fovea::Tensor& t = store.tensors.at(scope + name + part);
        t = without_heads(t, heads, dim, false);
      }
    fovea::Tensor& output = store.tensors.at(scope + "output.dense.weight");
    output = without_heads(output, heads, dim, true);
    extra["pruned_heads"][std::to_string(layer)] = heads;
  }
  nlohmann::json config = config_of(c.size);
  config.update(extra);
  c.folder.write("pruned/model.safetensors", store);  // makes the folder
  c.folder.write("pruned/config.json", config);
  c.folder.write("pruned/tokenizer.json", word_pieces());
  return c.folder.path() / "pruned";
}

}  // namespace plain
