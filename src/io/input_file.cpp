#include "io/input_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "io/embedded.hpp"
#include "io/quote.hpp"

namespace fovea::io {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) { return std::generic_category().message(error); }

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

[[noreturn]] void fail_to_open(const std::string& name, int error, const fs::path& path) {
  std::error_code ignored;
  std::string why = reason(error);
  if (error == ENOENT) {
    why = fs::is_symlink(path, ignored) ? "it is a link to a file that is not there" : "there is no such file";
  }
  throw Error(fmt::format("{}: cannot be opened: {}", name, why));
}

void require_regular(const std::string& name, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return;
  throw Error(fmt::format("{}: is {}; expected a regular file", name, kind_of(status.st_mode)));
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos && name.find('\0') == name.npos;
}

/// What the files of `folder` may link to.
fs::path root_of(const fs::path& folder) {
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (error) throw Error(fmt::format("{}: cannot be reached: {}", folder.string(), error.message()));
  const fs::path repository = real.parent_path().parent_path();
  const bool snapshot =
      real.parent_path().filename() == "snapshots" && repository.filename().string().starts_with("models--");
  return snapshot ? repository : real;
}

bool is_inside(const fs::path& path, const fs::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

}  // namespace

InputFile::InputFile(const fs::path& path, int extra_flags) : name_(path.string()) {
  // Looked at before it is opened: opening alone makes some devices act. Looked at again afterwards, in case it was
  // exchanged; O_NONBLOCK, so that even then a FIFO without a writer does not hang.
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) { fail_to_open(name_, errno, path); }
  require_regular(name_, status);
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | extra_flags);
  if (descriptor_ < 0) fail_to_open(name_, errno, path);
  try {
    if (::fstat(descriptor_, &status) != 0) throw Error(fmt::format("{}: cannot be read: {}", name_, reason(errno)));
    require_regular(name_, status);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
  size_ = status.st_size;
}

InputFile::InputFile(const fs::path& path, std::string_view embedded)
    : name_(path.string()), embedded_(embedded), size_(std::ssize(embedded)) {}

InputFile InputFile::open(const fs::path& path) {
  if (const auto bytes = embedded_file(path)) return InputFile(path, *bytes);
  return InputFile(path, 0);
}

InputFile InputFile::open_inside(const fs::path& folder, std::string_view name) {
  if (!is_plain_name(name)) {
    throw Error(fmt::format("{}: the file name {} is not plain; expected a name without folders, inside this folder",
                            folder.string(), in_quotes(name)));
  }
  const std::string shown = (folder / escaped(name)).string();
  std::error_code error;
  const fs::path real = fs::canonical(folder / name, error);
  if (error) fail_to_open(shown, error.value(), folder / name);
  const fs::path root = root_of(folder);
  if (!is_inside(real, root)) {
    throw Error(fmt::format("{}: is a link to {}, out of {}; expected a file of that folder: put a copy there", shown,
                            escaped(real.string(), 400), root.string()));
  }
  InputFile file(real, O_NOFOLLOW);
  file.name_ = shown;
  return file;
}

InputFile::InputFile(InputFile&& other) noexcept
    : name_(std::move(other.name_)), embedded_(other.embedded_), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(embedded_, other.embedded_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void InputFile::read(std::int64_t offset, std::span<std::byte> out) const {
  if (embedded_) {
    if (offset < 0 || offset > size_ || std::ssize(out) > size_ - offset)
      throw Error(fmt::format("{}: has {} bytes and ends before byte {}", name_, size_, offset + std::ssize(out)));
    std::memcpy(out.data(), embedded_->data() + offset, out.size());
    return;
  }
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(fmt::format("{}: cannot be read at byte {}: {}", name_, offset, reason(errno)));
    if (got == 0) {
      throw Error(fmt::format(
          "{}: was cut short: it had {} bytes when it was opened and now ends before byte {}; restore it and load "
          "it again",
          name_, size_, offset + std::ssize(out)));
    }
    offset += got;
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string read_text(const InputFile& file, std::int64_t limit) {
  if (file.size() > limit) {
    throw Error(
        fmt::format("{}: has {} bytes; expected at most {} in a file of this kind", file.name(), file.size(), limit));
  }
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace fovea::io
