// EXPECT_TRUE(refuses([&] { … }, {"bank", "[3, 4]"})): an Error of one line that says all of this.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <fovea/error.hpp>
#include <gtest/gtest.h>

namespace fovea::testing {

template <class F> ::testing::AssertionResult refuses(F f, const std::vector<std::string_view>& parts) {
  try {
    f();
  } catch (const Error& e) {
    const std::string message = e.what();
    if (message.find('\n') != std::string::npos) return ::testing::AssertionFailure() << "not one line: " << message;
    for (const std::string_view part : parts)
      if (message.find(part) == std::string::npos) return ::testing::AssertionFailure() << "\"" << part << "\" is not in: " << message;
    return ::testing::AssertionSuccess() << message;
  }
  return ::testing::AssertionFailure() << "no Error was thrown";
}

}  // namespace fovea::testing
