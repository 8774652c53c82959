// FOVEA_ISA for the length of a scope.
#pragma once
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace fovea::testing {

class UseIsa {
 public:
  explicit UseIsa(std::string_view isa) {
    if (const char* old = std::getenv("FOVEA_ISA")) before_ = old;
    setenv("FOVEA_ISA", std::string(isa).c_str(), 1);
  }
  ~UseIsa() { before_ ? setenv("FOVEA_ISA", before_->c_str(), 1) : unsetenv("FOVEA_ISA"); }
  UseIsa(const UseIsa&) = delete;
  UseIsa& operator=(const UseIsa&) = delete;

 private:
  std::optional<std::string> before_;
};

}  // namespace fovea::testing
