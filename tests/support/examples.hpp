// Examples in the comments of public headers, held to what a test compiles.
#pragma once
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

namespace fovea::testing {

/// What stands between "// example: …" and "// end" of a file, comment signs and indentation removed, line by line.
inline std::vector<std::string> examples_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    const auto start = [&line](std::size_t from) { return line.find_first_not_of(' ', std::min(from, line.size())); };
    std::size_t at = start(0);
    if (line.compare(std::min(at, line.size()), 3, "// ") == 0) at = start(at + 2);  // the header's are comments,
    if (line.compare(std::min(at, line.size()), 3, "// ") == 0) at = start(at + 2);  // and so are their markers
    line.erase(0, std::min(at, line.size()));
    if (line == "end") inside = false;
    if (inside) lines.push_back(line);
    if (line.starts_with("example: ")) inside = true;
  }
  return lines;
}

}  // namespace fovea::testing
