#include "io/json.hpp"

#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "io/input_file.hpp"
#include "io/json_parser.hpp"
#include "io/quote.hpp"

namespace fovea::io {
namespace {

using nlohmann::json;

class Builder : public JsonVisitor {
 public:
  json result;

  void null() override { add(nullptr); }
  void boolean(bool value) override { add(value); }
  void integer(std::int64_t value) override { add(value); }
  void real(double value, const std::string&) override { add(value); }
  void string(std::string& value) override { add(std::move(value)); }
  void key(std::string& name) override { key_ = std::move(name); }
  void open_object() override { open_.push_back(add(json::object())); }
  void close_object() override { open_.pop_back(); }
  void open_list() override { open_.push_back(add(json::array())); }
  void close_list() override { open_.pop_back(); }

 private:
  // An open value stays where it is until it is closed: only the innermost one grows.
  json* add(json value) {
    if (open_.empty()) return &(result = std::move(value));
    json& parent = *open_.back();
    if (parent.is_object()) return &(parent[key_] = std::move(value));
    return &parent.emplace_back(std::move(value));
  }

  std::vector<json*> open_;
  std::string key_;
};

/// The type in a message's words, and the check that a value has it.
template <class T>
struct Kind;
template <>
struct Kind<bool> {
  static constexpr const char* name = "true or false";
  static bool fits(const json& value) { return value.is_boolean(); }
};
template <>
struct Kind<std::string> {
  static constexpr const char* name = "a string";
  static bool fits(const json& value) { return value.is_string(); }
};
template <std::integral T>
struct Kind<T> {
  static constexpr const char* name = "a whole number";
  static bool fits(const json& value) { return value.is_number_integer(); }
};
template <std::floating_point T>
struct Kind<T> {
  static constexpr const char* name = "a number";
  static bool fits(const json& value) { return value.is_number(); }
};
template <class T>
bool all_fit(const json& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const json& v) { return Kind<T>::fits(v); });
}
template <>
struct Kind<std::vector<int>> {
  static constexpr const char* name = "a list of whole numbers";
  static bool fits(const json& value) {
    return all_fit<int>(value) && std::all_of(value.begin(), value.end(),
                                              [](const json& v) { return std::in_range<int>(v.get<std::int64_t>()); });
  }
};
template <>
struct Kind<std::vector<std::string>> {
  static constexpr const char* name = "a list of strings";
  static bool fits(const json& value) { return all_fit<std::string>(value); }
};

template <class T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;

/// "a whole number from 1 to 1000", or without the ends that any number of the type satisfies.
template <class T>
std::string describe(const Range<T>& range) {
  std::string text = Kind<T>::name;
  if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
    const Range<T> any;
    if (range.min != any.min) text += fmt::format(" from {}", range.min);
    if (range.max != any.max) text += fmt::format("{} {}", range.min != any.min ? " to" : " up to", range.max);
  }
  return text;
}

const json* find(const json& config, std::string_view key, const std::filesystem::path& file) {
  if (!config.is_object()) {
    throw Error(fmt::format("{}: is {}; expected a JSON object", file.string(), config.type_name()));
  }
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? nullptr : &*found;
}

template <class T>
T read(const json& value, std::string_view key, const std::filesystem::path& file, const Range<T>& range) {
  bool good = Kind<T>::fits(value);
  if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
    good = good && value.get<Wide<T>>() >= Wide<T>{range.min} && value.get<Wide<T>>() <= Wide<T>{range.max};
  }
  if (!good) {
    const std::string found = escaped(value.dump(-1, ' ', false, json::error_handler_t::replace), 60);
    throw Error(fmt::format("{}: {} is {}; expected {}", file.string(), in_quotes(key), found, describe(range)));
  }
  return value.get<T>();
}

}  // namespace

json parse_json(std::string_view text, const std::string& name) {
  Builder builder;
  parse_json({.name = name, .piece = [&] { return std::exchange(text, {}); }}, builder);
  return std::move(builder.result);
}

json read_json(const std::filesystem::path& path, std::int64_t limit) {
  const InputFile file = InputFile::open(path);
  return parse_json(read_text(file, limit), file.name());
}

template <class T>
T required(const json& config, std::string_view key, const std::filesystem::path& file, Range<T> range) {
  const json* value = find(config, key, file);
  if (!value)
    throw Error(fmt::format("{}: {} is missing; expected {}", file.string(), in_quotes(key), describe(range)));
  return read(*value, key, file, range);
}

template <class T>
T optional_or(const json& config, std::string_view key, T otherwise, const std::filesystem::path& file,
              Range<T> range) {
  const json* value = find(config, key, file);
  return value ? read(*value, key, file, range) : otherwise;
}

#define FOVEA_GETTERS(T)                                                                         \
  template T required<T>(const json&, std::string_view, const std::filesystem::path&, Range<T>); \
  template T optional_or<T>(const json&, std::string_view, T, const std::filesystem::path&, Range<T>);
FOVEA_GETTERS(int)
FOVEA_GETTERS(std::int64_t)
FOVEA_GETTERS(float)
FOVEA_GETTERS(double)
FOVEA_GETTERS(bool)
FOVEA_GETTERS(std::string)
FOVEA_GETTERS(std::vector<int>)
FOVEA_GETTERS(std::vector<std::string>)
#undef FOVEA_GETTERS

}  // namespace fovea::io
