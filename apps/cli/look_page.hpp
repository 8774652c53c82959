// fovea look --html: a run as one offline page. The page itself is apps/page; what it is fed with is written here.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "io/output_file.hpp"
#include "look.hpp"

namespace fovea::cli {

class LookPage {
 public:
  /// Claims the file, so that a path which cannot be written is refused before the model runs. Empty: no page is
  /// wanted.
  explicit LookPage(const std::string& path);
  /// Writes the page, whose JSON is that of --json (`json`), with the weights beside it. Returns what is to be said of
  /// it.
  std::string write(const Run& run, const Findings& found, Json json);

 private:
  std::string path_;
  std::optional<io::OutputFile> file_;
};

/// JSON that stands inside an HTML script element as it is: no text in it can close the element or open a comment.
std::string json_for_html(const Json& json);
/// RFC 4648, with padding.
std::string base64(std::string_view bytes);

}  // namespace fovea::cli
