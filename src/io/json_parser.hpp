// Strict JSON, event by event: what every JSON text of a model folder goes through, whoever wrote it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace fovea::io {

/// What the parser found. A member throws Error with a bare complaint ("\"shape\" is missing"); the parser puts file
/// and byte before it.
class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  virtual void null() = 0;
  virtual void boolean(bool value) = 0;
  virtual void integer(std::int64_t value) = 0;
  /// A number with a fraction or an exponent, or one beyond int64; `text` is how it was written.
  virtual void real(double value, const std::string& text) = 0;
  virtual void string(std::string& value) = 0;  // may be moved from, as may the key
  virtual void key(std::string& name) = 0;
  virtual void open_object() = 0;
  virtual void close_object() = 0;
  virtual void open_list() = 0;
  virtual void close_list() = 0;
};

using ReadAt = std::function<void(std::int64_t offset, std::span<std::byte> out)>;
/// Bytes [begin, end) of a file, 64 KB at a time: a hostile text costs time and memory up to its first fault only.
std::function<std::string_view()> pieces(ReadAt read, std::int64_t begin, std::int64_t end);

/// Where the text comes from, and what it may look like.
struct JsonText {
  std::string name;                         ///< of the file, for messages
  std::function<std::string_view()> piece;  ///< the next piece of the text; empty at its end
  std::int64_t first_byte = 0;              ///< where in the file the text begins, for messages
  int max_depth = 64;
};

/// Refused, each with an Error of one line that names file and byte: what is not JSON (comments, trailing commas and
/// NaN are not), anything after the value, a NUL, a byte order mark, invalid UTF-8, lone surrogates, numbers beyond
/// double, a key that stands twice in one object (reported when that object ends), nesting deeper than max_depth, and a
/// token or a blank of more than 4 MB. Memory: the keys of the objects that are open, and the longest token.
void parse_json(const JsonText& text, JsonVisitor& visitor);

}  // namespace fovea::io
