// Where a model's folder is: given, or in the local hub cache. Nothing is ever downloaded.
#pragma once
#include <filesystem>
#include <string>

namespace fovea::io {

/// HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub. An empty
/// variable counts as absent, and a leading "~/" is the home folder, as in the hub's own client. Empty when not even
/// HOME is set.
std::filesystem::path hub_cache();

/// An existing folder as it is; otherwise `org/name` (or the bare name of an old model) in the hub cache: the snapshot
/// of its "main" branch. Error of one line that says what was looked for and where.
std::filesystem::path resolve_model(const std::string& model);

}  // namespace fovea::io
