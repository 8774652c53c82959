#include "io/hub.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "io/input_file.hpp"
#include "io/quote.hpp"

namespace fovea::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHelp =
    "nothing is downloaded: give a folder, or fetch the model first (hf download ORG/NAME)";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

fs::path expanded(const std::string& path) {
  const std::string home = variable("HOME");
  return path.starts_with("~/") && !home.empty() ? fs::path(home) / path.substr(2) : fs::path(path);
}

/// One part of org/name, or a commit: letters, digits, '.', '_', '-', and no way out of the folder.
bool is_plain(std::string_view part) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !part.empty() && part.size() <= 96 && part.front() != '.' && part.find("..") == part.npos &&
         std::all_of(part.begin(), part.end(), allowed);
}

/// "models--org--name", or nothing when `model` is no name that the hub could have given.
std::string repository_folder(std::string_view model) {
  const auto slash = model.find('/');
  const std::string_view first = model.substr(0, slash);
  if (!is_plain(first)) return {};
  if (slash == model.npos) return fmt::format("models--{}", first);
  const std::string_view second = model.substr(slash + 1);
  return is_plain(second) ? fmt::format("models--{}--{}", first, second) : std::string();
}

std::string commit_of(const fs::path& reference, const std::string& model) {
  std::error_code error;
  if (!fs::exists(reference, error)) {
    throw Error(fmt::format("{}: no such folder, and not in the hub cache, where {} would say its version; {}",
                            in_quotes(model), reference.string(), kHelp));
  }
  constexpr std::int64_t kMost = 1024;
  const std::string text = read_text(InputFile::open(reference), kMost);
  const auto end = text.find_last_not_of(" \t\r\n");
  const std::string commit = text.substr(0, end == text.npos ? 0 : end + 1);
  if (!is_plain(commit)) {
    throw Error(fmt::format("{}: holds {}; expected the name of a snapshot; fetch the model again", reference.string(),
                            in_quotes(text)));
  }
  return commit;
}

}  // namespace

fs::path hub_cache() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return expanded(cache);
  if (const std::string home = variable("HF_HOME"); !home.empty()) return expanded(home) / "hub";
  if (const std::string caches = variable("XDG_CACHE_HOME"); !caches.empty())
    return expanded(caches) / "huggingface" / "hub";
  if (const std::string home = variable("HOME"); !home.empty())
    return fs::path(home) / ".cache" / "huggingface" / "hub";
  return {};
}

fs::path resolve_model(const std::string& model) {
  std::error_code error;
  if (fs::is_directory(model, error)) return model;
  if (fs::exists(model, error)) {
    throw Error(fmt::format("{}: is a file; expected a model's folder, the one that holds its config.json", model));
  }
  const std::string name = repository_folder(model);
  if (name.empty())
    throw Error(
        fmt::format("{}: no such folder, and no org/name that the hub cache could hold; {}", in_quotes(model), kHelp));
  const fs::path cache = hub_cache();
  if (cache.empty()) {
    throw Error(fmt::format(
        "{}: no such folder, and no hub cache: none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is set; {}",
        in_quotes(model), kHelp));
  }
  const fs::path repository = cache / name;
  const fs::path snapshot = repository / "snapshots" / commit_of(repository / "refs" / "main", model);
  if (!fs::is_directory(snapshot, error)) {
    throw Error(
        fmt::format("{}: the hub cache has no folder {}, which refs/main names; fetch the model again: nothing is "
                    "downloaded from here",
                    in_quotes(model), snapshot.string()));
  }
  return snapshot;
}

}  // namespace fovea::io
