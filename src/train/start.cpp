#include "train/start.hpp"

#include <cmath>
#include <numbers>

#include "demo/draw.hpp"

namespace fovea::train {
namespace {

/// FNV-1a: a number of its own for every name, the same everywhere.
std::uint64_t number_of(const std::string& name) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

}  // namespace

double start_deviation(int width) { return 0.6 / std::sqrt(static_cast<double>(width)); }

std::vector<std::string> Start::names() const {
  std::vector<std::string> names;
  for (const auto& [name, shape] : shapes_) names.push_back(name);
  return names;
}

Tensor Start::tensor(const std::string& name) const {
  Tensor t(DType::F32, shapes_.at(name));
  const bool matrix = t.shape().rank() == 2 && name != "final_logits_bias", gain = name.ends_with("norm.weight");
  if (gain)
    for (float& x : t.values<float>()) x = 1;
  if (!matrix) return t;
  demo::Draw draw(seed_, 0x7374617274, number_of(name));
  const double deviation = start_deviation(width_);
  const auto unit = [&] { return (static_cast<double>(draw.next() >> 11) + 0.5) * 0x1p-53; };
  for (float& x : t.values<float>()) {  // Box & Muller 1958
    const double radius = std::sqrt(-2 * std::log(unit()));
    x = static_cast<float>(deviation * radius * std::cos(2 * std::numbers::pi * unit()));
  }
  return t;
}

}  // namespace fovea::train
