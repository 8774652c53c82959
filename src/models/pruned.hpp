// A model folder with some heads cut out of its tensors.
#pragma once
#include <filesystem>
#include <map>
#include <set>

namespace fovea::models {

/// Error when the folder's family has no format for layers with fewer heads, saying so. BERT has one: pruned_heads in
/// config.json (transformers up to version 4; version 5 dropped it).
void check_prunable(const std::filesystem::path& folder);

/// Writes `folder` to `out`, without these heads of each layer (numbered as the model loaded from `folder` numbers
/// them): rows of query, key and value, and columns of the output's weight, are gone; dtypes stay, shards become one
/// file, and what else lies in the folder (tokenizer, pooling) is copied. Error when a layer would have none left, when
/// `out` is the folder itself, and when something cannot be written.
void write_pruned(const std::filesystem::path& folder, const std::map<int, std::set<int>>& heads,
                  const std::filesystem::path& out);

}  // namespace fovea::models
