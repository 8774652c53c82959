// Files that are written: whole or not at all.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace fovea::io {

/// A file that takes its name only when commit() succeeds. Until then, and for good when the disk is full, the program
/// fails or is killed, the old file stays as it was. Nothing is left behind: where the file system allows, the new one
/// has no name before commit().
class OutputFile {
 public:
  /// Error when the folder is absent or cannot be written to, or when `path` is there and no regular file. A link is
  /// written through.
  explicit OutputFile(const std::filesystem::path& path);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  /// Takes the space at once, where the file system can: a disk that is too full says so before the work, not after it.
  void reserve(std::int64_t bytes);
  void write(std::int64_t offset, std::span<const std::byte> bytes);
  /// To the disk, then under its name. At most once; nothing may be written after it.
  void commit();

 private:
  [[noreturn]] void fail(const char* doing, int error) const;
  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty: the new file has no name
  int descriptor_ = -1;
};

/// The whole file from `text`.
void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace fovea::io
