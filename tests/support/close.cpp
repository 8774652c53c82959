#include "support/close.hpp"

#include <cmath>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace fovea::testing {

void expect_close(const std::string& what, const Tensor& got, const Tensor& want, double allowed) {
  ASSERT_EQ(got.shape().str(), want.shape().str()) << what;
  for (std::size_t i = 0; i < static_cast<std::size_t>(want.elements()); ++i) {
    const auto mine = static_cast<double>(got.values<float>()[i]),
               theirs = static_cast<double>(want.values<float>()[i]);
    ASSERT_LE(std::abs(mine - theirs), allowed)
        << fmt::format("{}[{}] = {:.9g}, expected {:.9g}", what, i, mine, theirs);
  }
}

}  // namespace fovea::testing
