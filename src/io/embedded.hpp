// Files that are part of the program: they open by path, as others do, and need no disk.
#pragma once
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace fovea::io {

struct EmbeddedFile {
  std::string_view name, bytes;  // of the program's own data: never copied, never freed
};

/// Makes a folder of them, "embedded:NAME", once for each name; later calls return the same path and change nothing.
std::filesystem::path embedded_folder(std::string_view name, const std::vector<EmbeddedFile>& files);
/// The bytes of such a file; nothing for a path of the disk or one that no embedded folder holds.
std::optional<std::string_view> embedded_file(const std::filesystem::path& path);

/// As std::filesystem's, of both kinds of path; false where nothing can be told.
bool is_folder(const std::filesystem::path& path);
bool is_there(const std::filesystem::path& path);

}  // namespace fovea::io
