// One code point at a time, in and out of UTF-8. Strict: overlong forms, surrogates and stray bytes are no code points.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace fovea {

inline constexpr char32_t kReplacement = 0xfffd;

/// Bytes of the code point that the text starts with, 0 when it starts with none.
inline std::size_t code_point_bytes(std::string_view text, char32_t* out = nullptr) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (size == 0 || text.size() < size) return 0;
  char32_t c = size == 1 ? lead : lead & (0xffu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    c = (c << 6) | (byte(i) & 0x3fu);
  }
  if ((size == 3 && c < 0x800) || (size == 4 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c < 0xe000)) return 0;
  if (out) *out = c;
  return size;
}

/// Takes the first code point off the text; U+FFFD for a byte that starts none.
inline char32_t next_code_point(std::string_view& text) {
  char32_t c = kReplacement;
  const std::size_t size = code_point_bytes(text, &c);
  text.remove_prefix(size == 0 ? 1 : size);
  return c;
}

inline void append_code_point(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) return put(0xc0 | (c >> 6)), put(0x80 | (c & 0x3f));
  if (c < 0x10000) return put(0xe0 | (c >> 12)), put(0x80 | ((c >> 6) & 0x3f)), put(0x80 | (c & 0x3f));
  put(0xf0 | (c >> 18)), put(0x80 | ((c >> 12) & 0x3f)), put(0x80 | ((c >> 6) & 0x3f)), put(0x80 | (c & 0x3f));
}

/// Where the first byte stands that is not UTF-8; nothing when all is.
inline std::optional<std::size_t> first_bad_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = code_point_bytes(text.substr(at));
    if (size == 0) return at;
    at += size;
  }
  return std::nullopt;
}

}  // namespace fovea
