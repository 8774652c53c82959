// What a golden is held to: every element within a distance.
#pragma once
#include <string>

#include <fovea/tensor.hpp>

namespace fovea::testing {

/// Every element of `got` within `allowed` of what the independent implementation says; F32 of one shape.
void expect_close(const std::string& what, const Tensor& got, const Tensor& want, double allowed);

}  // namespace fovea::testing
