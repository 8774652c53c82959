// EXPECT_TRUE(refuses([&] { … }, {"bank", "[3, 4]"})): an Error of one line that says all of this.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace fovea::testing {

::testing::AssertionResult refuses(const std::function<void()>& f, const std::vector<std::string_view>& parts);

}  // namespace fovea::testing
