// JSON files as values, and the typed reading of configs: every key checked, every complaint one line.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include <nlohmann/json.hpp>

namespace fovea::io {

inline constexpr std::int64_t kMaxJsonBytes = 64 << 20;  // the largest tokenizer.json in use has about half of that

/// A JSON file, as strict as parse_json. Error also when it is absent, no regular file, or larger than `limit` bytes.
nlohmann::json read_json(const std::filesystem::path& path, std::int64_t limit = kMaxJsonBytes);
/// The same of a text in memory; `name` is for messages.
nlohmann::json parse_json(std::string_view text, const std::string& name);

/// What a number may be; both ends are allowed.
template <class T, bool = std::is_arithmetic_v<T>>
struct Range {};
template <class T>
struct Range<T, true> {
  T min = std::numeric_limits<T>::lowest();
  T max = std::numeric_limits<T>::max();
};

/// config[key] as T: int, std::int64_t, float, double, bool, std::string, std::vector<int> or std::vector<std::string>.
/// Error naming file, key, what was expected and what was found when it is absent, null, of another type, or out of
/// range. Nothing is converted: 384.0, "384" and true are no whole numbers.
template <class T>
T required(const nlohmann::json& config, std::string_view key, const std::filesystem::path& file, Range<T> range = {});

/// The same, but `otherwise` where the key is absent or null, which is how Hugging Face writes "not set".
template <class T>
T optional_or(const nlohmann::json& config, std::string_view key, T otherwise, const std::filesystem::path& file,
              Range<T> range = {});

}  // namespace fovea::io
