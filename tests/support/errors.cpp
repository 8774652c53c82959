#include "support/errors.hpp"

#include <string>

#include <fovea/error.hpp>

namespace fovea::testing {

::testing::AssertionResult refuses(const std::function<void()>& f, const std::vector<std::string_view>& parts) {
  try {
    f();
  } catch (const Error& e) {
    const std::string message = e.what();
    if (message.find('\n') != std::string::npos) return ::testing::AssertionFailure() << "not one line: " << message;
    for (const std::string_view part : parts)
      if (message.find(part) == std::string::npos)
        return ::testing::AssertionFailure() << "\"" << part << "\" is not in: " << message;
    return ::testing::AssertionSuccess() << message;
  }
  return ::testing::AssertionFailure() << "no Error was thrown";
}

}  // namespace fovea::testing
