// A small BERT that went through a folder on disk, and what it is given to read.
#pragma once
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/encoder.hpp"
#include "support/small_bert.hpp"

namespace plain {

inline std::unique_ptr<fovea::models::Encoder> loaded(const Store& store, const nlohmann::json& config) {
  const Folder folder;
  folder.write("config.json", config);
  folder.write("model.safetensors", store);
  return fovea::models::load_encoder(folder.path());
}

inline const std::vector<int> kIds{2, 17, 30, 5, 5, 0, 11, 3}, kTypes{0, 0, 0, 1, 1, 1, 1, 1};

inline std::vector<fovea::models::Sequence> mixed_batch() {
  return {{kIds, kTypes},
          {{9}, {}},
          {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, {}},
          {{30, 29}, {1, 0}}};
}

}  // namespace plain
