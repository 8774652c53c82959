// Names that a file chose, made fit for a message: one line, no terminal escapes, not endless.
#pragma once
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace fovea::io {

/// `text` with control characters as \xNN, and cut after `most` bytes.
inline std::string escaped(std::string_view text, std::size_t most = 80) {
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) == 0x80u; };
  std::size_t length = text.size();
  if (length > most) {
    length = most;
    while (length > 0 && continues(text[length])) --length;  // never half a character
  }
  std::string out;
  for (std::size_t i = 0; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < length ? text[i + 1] : 0);
    const bool c1 = byte == 0xc2 && next >= 0x80 && next < 0xa0;  // U+0080–U+009F: some terminals obey them
    if (byte < 0x20 || byte == 0x7f || c1)
      out += fmt::format("\\x{:02x}", c1 ? next : byte), i += c1;
    else
      out += text[i];
  }
  return length < text.size() ? out + "…" : out;
}

inline std::string in_quotes(std::string_view text) { return '"' + escaped(text) + '"'; }

}  // namespace fovea::io
