// The tensors of a model before it has learnt anything.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nn/weights.hpp"

namespace fovea::train {

using Shapes = std::map<std::string, Shape>;  // by name

/// Matrices from a normal distribution of deviation start_deviation(width), gains of norms 1, everything else 0. Each
/// depends on the seed and its own name alone.
class Start : public nn::TensorSource {
 public:
  Start(Shapes shapes, int width, std::uint64_t seed) : shapes_(std::move(shapes)), width_(width), seed_(seed) {}
  std::string where() const override { return "a new model"; }
  std::vector<std::string> names() const override;
  bool contains(const std::string& name) const override { return shapes_.contains(name); }
  nn::StoredTensor info(const std::string& name) const override { return {DType::F32, "F32", shapes_.at(name)}; }
  Tensor tensor(const std::string& name) const override;

 private:
  Shapes shapes_;
  int width_;
  std::uint64_t seed_;
};

/// 0.6/√width.
double start_deviation(int width);

}  // namespace fovea::train
