// The one exception type that crosses the library's boundary.
#pragma once
#include <stdexcept>
#include <string>

namespace fovea {

/// Bad input or a failed job. what() is one line: what, where, expected, found, what to do next.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace fovea
