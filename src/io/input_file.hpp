// Files that are read: regular ones only, each read checked against what is really there.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::io {

/// A regular file, or one that is part of the program (embedded.hpp), open for reading. Movable; read() may be called by any number of threads at once.
///
/// Bytes are copied out with pread, not reached through a mapping. A mapped file that is cut short is a SIGBUS in
/// whoever touches it next, a mapped file that is written anew is a model whose weights change while it runs, and a
/// library has no business owning its process's SIGBUS handler. Weights are copied once anyway, when they are packed
/// for the kernels. 94 MB in 60 tensors, read and summed one after the other: 47 ms here, 54 ms copied out of a
/// mapping, 34 ms summed in the mapping itself: what safety costs is 13 ms.
class InputFile {
 public:
  /// A path that the user named; links are followed. Error when it is absent, unreadable, a folder, a device, a FIFO or
  /// a socket.
  static InputFile open(const std::filesystem::path& path);
  /// A file that another file of `folder` named: also an Error when `name` is not a plain file name, or is a link that
  /// leads out of the folder. Of a snapshot in the hub cache, whose files are links to ../../blobs, the folder is the
  /// whole models--org--name.
  static InputFile open_inside(const std::filesystem::path& folder, std::string_view name);

  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();

  const std::string& name() const { return name_; }  ///< the path, as messages show it
  std::int64_t size() const { return size_; }        ///< when it was opened
  /// Fills `out` from byte `offset` on. Error naming the file when it ends earlier or cannot be read.
  void read(std::int64_t offset, std::span<std::byte> out) const;

 private:
  InputFile(const std::filesystem::path& path, int extra_flags);
  InputFile(const std::filesystem::path& path, std::string_view embedded);
  std::string name_;
  std::optional<std::string_view> embedded_;  // instead of a descriptor
  int descriptor_ = -1;
  std::int64_t size_ = 0;
};

/// The names in a folder, sorted; none where it cannot be listed.
std::vector<std::string> names_in(const std::filesystem::path& folder);

/// The whole of a file as text. Error when it has more than `limit` bytes.
std::string read_text(const InputFile& file, std::int64_t limit);

}  // namespace fovea::io
