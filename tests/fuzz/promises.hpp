// What every parser promises of what it refuses, and how a fuzzer says that a promise was broken.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <fovea/error.hpp>

namespace fovea::fuzz {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

/// `name` is what the parser was told that the file is called.
inline void require_plain(const Error& error, std::string_view name) {
  const std::string_view message = error.what();
  require(message.starts_with(name) && message.substr(name.size()).starts_with(": "), "the message names the file");
  require(message.find('\n') == message.npos && message.find('\x1b') == message.npos, "the message is one plain line");
  require(message.size() < 1000, "the message is short");
}

}  // namespace fovea::fuzz
