#include "io/json_parser.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/error.hpp>

#include "io/quote.hpp"

namespace fovea::io {
namespace {

constexpr std::int64_t kMaxToken = 4 << 20;

/// The text as one stream of bytes. Refuses what the library's lexer would let through.
class Stream {
 public:
  explicit Stream(const JsonText& text) : text_(text), base_(text.first_byte) {}

  bool more() { return at_ != end_ || refill(); }
  char current() const { return *at_; }
  void advance() { ++at_; }
  std::int64_t byte() const { return base_ + (at_ - begin_); }
  void event() { last_event_ = byte(); }

  [[noreturn]] void fail(std::int64_t byte, std::string_view what) const {
    throw Error(fmt::format("{}: byte {}: {}", text_.name, byte, what));
  }

 private:
  bool refill() {
    const std::int64_t start = byte();
    if (start - last_event_ > kMaxToken)
      fail(start, fmt::format("a single token or blank is longer than {} bytes", kMaxToken));
    const std::string_view piece = text_.piece();
    if (start == text_.first_byte && piece.starts_with("\xef\xbb\xbf")) {
      fail(start, "a byte order mark; expected plain UTF-8 JSON without one");
    }
    // The lexer takes a NUL for the end of the text, and would skip over all that follows.
    if (const void* nul = piece.empty() ? nullptr : std::memchr(piece.data(), 0, piece.size())) {
      fail(start + (static_cast<const char*>(nul) - piece.data()),
           "a NUL byte; expected JSON text, padded with spaces if at all");
    }
    base_ = start;
    begin_ = at_ = piece.data();
    end_ = at_ + piece.size();
    return !piece.empty();
  }

  const JsonText& text_;
  std::int64_t base_, last_event_ = base_;  // byte of the file at begin_
  const char *begin_ = nullptr, *at_ = nullptr, *end_ = nullptr;
};

/// The stream as the library wants to read it.
struct Cursor {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  Stream* stream = nullptr;
  char operator*() const { return stream->current(); }
  Cursor& operator++() { return stream->advance(), *this; }
  bool operator!=(const Cursor&) const { return stream->more(); }  // the other one is always the end
  bool operator==(const Cursor& end) const { return !(*this != end); }
};

/// Of "[json.exception.…] parse error at line 1, column 5: syntax error while parsing value - REASON; last read: '…';
/// …": REASON.
std::string reason_of(std::string_view message) {
  if (const auto dash = message.find(" - "); dash != message.npos)
    message.remove_prefix(dash + 3);
  else if (const auto bracket = message.find("] "); bracket != message.npos)
    message.remove_prefix(bracket + 2);
  return escaped(message.substr(0, message.find("; last read: ")), 120);
}

/// Between the library and the visitor: depth, keys that stand twice, and where an error is.
class Strict {
 public:
  Strict(const JsonText& text, Stream& stream, JsonVisitor& visitor)
      : text_(text), stream_(stream), visitor_(visitor) {}

  bool null() {
    return tell([&] { visitor_.null(); });
  }
  bool boolean(bool value) {
    return tell([&] { visitor_.boolean(value); });
  }
  bool number_integer(std::int64_t value) {
    return tell([&] { visitor_.integer(value); });
  }
  bool number_unsigned(std::uint64_t value) {
    if (value > std::numeric_limits<std::int64_t>::max())
      return number_float(static_cast<double>(value), fmt::format("{}", value));
    return number_integer(static_cast<std::int64_t>(value));
  }
  bool number_float(double value, const std::string& written) {
    return tell([&] { visitor_.real(value, written); });
  }
  bool string(std::string& value) {
    return tell([&] { visitor_.string(value); });
  }
  bool binary(std::vector<std::uint8_t>&) { return false; }  // not in JSON text

  bool start_object(std::size_t) {
    open();
    return tell([&] { visitor_.open_object(); });
  }
  bool key(std::string& name) {
    keys_[depth_ - 1].push_back(name);
    return tell([&] { visitor_.key(name); });
  }
  bool end_object() {
    return tell([&] {
      check_keys();
      visitor_.close_object();
      --depth_;
    });
  }
  bool start_array(std::size_t) {
    open();
    return tell([&] { visitor_.open_list(); });
  }
  bool end_array() {
    return tell([&] {
      visitor_.close_list();
      --depth_;
    });
  }

  template <class E>
  [[noreturn]] bool parse_error(std::size_t position, const std::string&, const E& error) {
    stream_.fail(text_.first_byte + static_cast<std::int64_t>(position),
                 fmt::format("not valid JSON: {}", reason_of(error.what())));
  }

 private:
  void open() {
    if (depth_ == static_cast<std::size_t>(text_.max_depth)) {
      stream_.fail(stream_.byte(), fmt::format("nested deeper than {} levels", text_.max_depth));
    }
    if (depth_ == keys_.size()) keys_.emplace_back();  // kept for the next object: a file may have 10⁵ small objects
    keys_[depth_++].clear();
  }

  // By sorting: no choice of keys makes that slow, as one could with a hash table.
  void check_keys() {
    std::vector<std::string>& keys = keys_[depth_ - 1];
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return;
    // Of the enclosing object only the last key is open, and its keys are not yet sorted.
    const bool inner = depth_ > 1 && !keys_[depth_ - 2].empty();
    throw Error(fmt::format("the key {} stands twice in {}; expected once", in_quotes(*twice),
                            inner ? in_quotes(keys_[depth_ - 2].back()) : std::string("one object")));
  }

  template <class Call>
  bool tell(Call call) {
    try {
      call();
    } catch (const Error& complaint) { stream_.fail(stream_.byte(), complaint.what()); }
    stream_.event();
    return true;
  }

  const JsonText& text_;
  Stream& stream_;
  JsonVisitor& visitor_;
  std::vector<std::vector<std::string>> keys_;  // of each open object; a list has none
  std::size_t depth_ = 0;
};

}  // namespace

std::function<std::string_view()> pieces(ReadAt read, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kPiece = 1 << 16;
  const auto buffer = std::make_shared<std::vector<char>>(static_cast<std::size_t>(std::min(kPiece, end - begin)));
  return [read = std::move(read), at = begin, end, buffer]() mutable -> std::string_view {
    const std::span piece(buffer->data(), std::min(buffer->size(), static_cast<std::size_t>(end - at)));
    if (!piece.empty()) read(at, std::as_writable_bytes(piece));
    at += std::ssize(piece);
    return {piece.data(), piece.size()};
  };
}

void parse_json(const JsonText& text, JsonVisitor& visitor) {
  Stream stream(text);
  Strict strict(text, stream, visitor);
  nlohmann::json::sax_parse(Cursor{&stream}, Cursor{}, &strict);
}

}  // namespace fovea::io
