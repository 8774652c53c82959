// A folder of a test's own, files in it, and the message of an Error.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::testing {

/// Made when it is constructed, gone with all that is in it when it is destroyed.
class Scratch {
 public:
  Scratch();
  Scratch(const Scratch&) = delete;
  ~Scratch();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }
  /// Writes a file, and the folders above it.
  std::filesystem::path write(const std::filesystem::path& name, std::string_view bytes) const;
  std::vector<std::string> files() const;

 private:
  std::filesystem::path path_;
};

std::string bytes_of(const std::filesystem::path& file);
/// The message of the Error that `call` throws; "no error" when it throws none.
std::string message_of(const std::function<void()>& call);
inline bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace fovea::testing
