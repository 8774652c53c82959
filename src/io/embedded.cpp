#include "io/embedded.hpp"

#include <map>
#include <mutex>
#include <string>
#include <system_error>

namespace fovea::io {
namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::string, std::map<std::string, std::string_view>> folders;  // by path, then by name
};

Registry& registry() {
  static Registry all;
  return all;
}

}  // namespace

std::filesystem::path embedded_folder(std::string_view name, const std::vector<EmbeddedFile>& files) {
  const std::string path = "embedded:" + std::string(name);
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  if (const auto [at, first] = all.folders.try_emplace(path); first)
    for (const EmbeddedFile& file : files) at->second.emplace(file.name, file.bytes);
  return path;
}

std::optional<std::string_view> embedded_file(const std::filesystem::path& path) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto folder = all.folders.find(path.parent_path().string());
  if (folder == all.folders.end()) return std::nullopt;
  const auto file = folder->second.find(path.filename().string());
  if (file == folder->second.end()) return std::nullopt;
  return file->second;
}

bool is_folder(const std::filesystem::path& path) {
  {
    Registry& all = registry();
    const std::lock_guard lock(all.mutex);
    if (all.folders.contains(path.string())) return true;
  }
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

bool is_there(const std::filesystem::path& path) {
  std::error_code error;
  return embedded_file(path) || std::filesystem::exists(path, error);
}

}  // namespace fovea::io
