// Any bytes as JSON: refused with an Error of one line, or a value that the library's own parser reads as the same one.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/promises.hpp"
#include "io/json.hpp"

namespace {

using fovea::fuzz::require;

/// Numbers beyond int64 are doubles for us and may be integers for the library: they are compared as doubles.
bool same(const nlohmann::json& a, const nlohmann::json& b) {
  if (a.is_number() && b.is_number()) return a.get<double>() == b.get<double>();
  if (a.is_structured() && a.size() != b.size()) return false;
  if (a.is_array() && b.is_array()) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (!same(a[i], b[i])) return false;
    }
    return true;
  }
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, value] : a.items()) {
      if (!b.contains(key) || !same(value, b[key])) return false;
    }
    return true;
  }
  return a == b;
}

void read_as_everything(const nlohmann::json& value) {
  for (const char* key : {"hidden_size", "list", "w"}) {
    try {
      fovea::io::required<int>(value, key, "file", {1, 10});
      fovea::io::optional_or<double>(value, key, 1.0, "file");
      fovea::io::optional_or<std::vector<int>>(value, key, {}, "file");
    } catch (const fovea::Error& error) {
      require(std::string_view(error.what()).find('\n') == std::string_view::npos, "a config's message is one line");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const nlohmann::json value = fovea::io::parse_json(text, "file");
    require(same(value, nlohmann::json::parse(text)), "both parsers read the same value");
    read_as_everything(value);
  } catch (const fovea::Error& error) { fovea::fuzz::require_plain(error, "file"); }
  return 0;
}
