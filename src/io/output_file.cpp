#include "io/output_file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <random>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include <fovea/error.hpp>

namespace fovea::io {
namespace {

namespace fs = std::filesystem;

std::string descriptor_path(int descriptor) { return fmt::format("/proc/self/fd/{}", descriptor); }

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

fs::path temporary_name(const fs::path& path) {
  std::random_device random;
  return folder_of(path) /
         fmt::format(".{}.{:08x}{:08x}.tmp", path.filename().string().substr(0, 200), random(), random());
}

}  // namespace

OutputFile::OutputFile(const fs::path& path) : path_(path) {
  std::error_code ignored;
  if (fs::is_symlink(path, ignored)) path_ = fs::weakly_canonical(path, ignored);
  struct stat old {};
  const bool replaces = ::stat(path_.c_str(), &old) == 0;
  if (replaces && !S_ISREG(old.st_mode)) {
    throw Error(fmt::format("{}: cannot be written: it is there and is no regular file; name another", path_.string()));
  }
  descriptor_ = ::open(folder_of(path_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  // A name is given to it through /proc, which may be missing; better known now than after the work.
  if (descriptor_ >= 0 && ::access(descriptor_path(descriptor_).c_str(), F_OK) != 0)
    ::close(std::exchange(descriptor_, -1));
  if (descriptor_ < 0) {
    temporary_ = temporary_name(path_);
    descriptor_ = ::open(temporary_.c_str(), O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0666);
  }
  if (descriptor_ < 0) fail("be created", errno);
  if (replaces && ::fchmod(descriptor_, old.st_mode & 07777) != 0) { /* a file system without modes */
  }
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::fail(const char* doing, int error) const {
  throw Error(fmt::format("{}: cannot {}: {}; what was there before is untouched", path_.string(), doing,
                          std::generic_category().message(error)));
}

void OutputFile::reserve(std::int64_t bytes) {
  if (bytes == 0) return;
  while (::fallocate(descriptor_, 0, 0, bytes) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOSPC || errno == EFBIG || errno == EDQUOT) fail(fmt::format("take {} bytes", bytes).c_str(), errno);
    return;  // not supported here: writing will tell
  }
}

void OutputFile::write(std::int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("be written", errno);
    offset += put;
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void OutputFile::commit() {
  if (::fsync(descriptor_) != 0) fail("be written", errno);
  if (temporary_.empty()) {
    const fs::path name = temporary_name(path_);  // a link replaces no file, so it has a name of its own for a moment
    if (::linkat(AT_FDCWD, descriptor_path(descriptor_).c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      fail("be named", errno);
    temporary_ = name;
  }
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("be written", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("be named", errno);
  temporary_.clear();
  // The name too must outlive a power cut. Some file systems cannot sync a folder; then it is as safe as they make it.
  if (const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
}

void write_file(const fs::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(0, std::as_bytes(std::span(text)));
  file.commit();
}

}  // namespace fovea::io
