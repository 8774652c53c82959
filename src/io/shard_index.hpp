// model.safetensors.index.json: which shard holds which tensor.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/safetensors_header.hpp"

namespace fovea::io {

struct ShardIndex {
  std::string where;                                     ///< the file, for messages
  std::vector<std::string> shards;                       ///< sorted; not yet checked to be plain file names
  std::vector<std::pair<std::string, std::size_t>> map;  ///< tensor and its place in `shards`, sorted by tensor
};

/// Error of one line when it is not strict JSON, has no weight_map from names to file names, or maps more than `limit`
/// tensors.
ShardIndex read_shard_index(const std::filesystem::path& folder, const std::string& name, std::size_t limit);

/// Error when `tensors`, sorted by name, are not exactly those of the index, each in its shard: naming a tensor that is
/// missing, that the index does not know, that two shards hold, or that lies in another shard. Error also for a shard
/// of the same series (model-00002-of-00003) that lies in the folder and is not in the index.
void check_shards(const ShardIndex& index, const std::vector<TensorInfo>& tensors, const std::filesystem::path& folder);

}  // namespace fovea::io
