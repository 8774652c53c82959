#include "support/gradients.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/convert.hpp"
#include "ops/linear.hpp"
#include "ops/tape.hpp"
#include "support/random.hpp"

namespace fovea::testing {
namespace {

constexpr std::uint64_t kSeed = 11;  // of every tape, so that dropout is a fixed function

void set(Tensor& t, std::int64_t i, double x) { store_element(t.dtype(), t.raw(), i, x); }
double get(const Tensor& t, std::int64_t i) { return load_element(t.dtype(), t.raw(), i); }

/// Weights between ½ and 1 of either sign.
Tensor weights_for(const Tensor& y) {
  Rng random(5);
  Tensor weight(y.dtype(), y.shape());
  for (std::int64_t i = 0; i < y.elements(); ++i)
    set(weight, i, (random.chance(0.5) ? 1 : -1) * std::round(random.uniform(512, 1024)) / 1024);
  return weight;
}

/// Σ weight ∘ y as a tensor [1, 1].
Tensor weighted_sum(const Tensor& y, const Tensor& weight) {
  return linear(y.reshape({1, y.elements()}), weight.reshape({1, y.elements()}), {});
}

double loss(const Differentiable& c, const std::vector<Tensor>& inputs) {
  const Tape tape(kSeed);
  const Tensor y = c.f(inputs);
  return get(weighted_sum(y, weights_for(y)), 0);
}

}  // namespace

std::vector<Tensor> inputs_of(const Differentiable& c) {
  Rng random(3);
  std::vector<Tensor> inputs;
  for (const Argument& input : c.inputs) {
    Tensor t(input.single ? DType::F32 : DType::F64, input.shape);
    for (std::int64_t i = 0; i < t.elements(); ++i)
      set(t, i, (random.chance(0.5) ? 1 : -1) * std::round(random.uniform(16, 1024)) / 1024);
    inputs.push_back(std::move(t));
  }
  return inputs;
}

std::vector<Tensor> to_f32(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> narrow;
  for (const Tensor& t : inputs) narrow.push_back(t.to(DType::F32));
  return narrow;
}

Found run_on_tape(const Differentiable& c, const std::vector<Tensor>& inputs, const Tensor& dout) {
  Tape tape(kSeed);
  for (const Tensor& t : inputs) tape.watch(t);
  Found found{c.f(inputs), {}};
  tape.backward(weighted_sum(found.out, dout.empty() ? weights_for(found.out) : dout));
  for (const Tensor& t : inputs) found.gradients.push_back(tape.gradient(t));
  return found;
}

std::vector<Tensor> tape_gradients(const Differentiable& c, const std::vector<Tensor>& inputs) {
  return run_on_tape(c, inputs, {}).gradients;
}

std::vector<double> difference_gradients(const Differentiable& c, const std::vector<Tensor>& inputs,
                                         std::size_t which) {
  constexpr double kStep = 0x1p-10;
  std::vector<Tensor> moved = inputs;
  Tensor& x = moved[which] = inputs[which].clone();
  std::vector<double> gradient;
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    const double here = get(x, i);
    const auto at = [&](double steps) {
      set(x, i, here + steps * kStep);
      return loss(c, moved);
    };
    gradient.push_back((8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * kStep));
    set(x, i, here);
  }
  return gradient;
}

void expect_largest_slope(const std::string& name, Tensor parameter, const Tensor& gradient,
                          const std::function<double()>& loss, bool zero) {
  const std::span<const float> slopes = gradient.values<float>();
  const auto at = std::ranges::max_element(slopes, {}, [](float x) { return std::abs(x); }) - slopes.begin();
  float& x = parameter.data<float>()[at];
  const float was = x;
  constexpr float kStep = 0.01f;
  x = was + kStep;
  const double up = loss();
  x = was - kStep;
  const double down = loss();
  x = was;
  const double slope = (up - down) / (2 * double{kStep}), got = double{slopes[static_cast<std::size_t>(at)]};
  EXPECT_NEAR(got, slope, 0.03 * std::abs(slope) + 1e-4) << name;
  if (!zero) { EXPECT_NE(got, 0) << name; }
}

double relative_distance(const Tensor& a, std::span<const double> b) {
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double gap = std::abs(get(a, static_cast<std::int64_t>(i)) - b[i]);
    if (!(gap <= worst)) worst = gap;  // a NaN too
    largest = std::max(largest, std::abs(b[i]));
  }
  return largest > 0 ? worst / largest : std::numeric_limits<double>::infinity();
}

std::vector<double> doubles(const Tensor& t) {
  std::vector<double> x;
  for (std::int64_t i = 0; i < t.elements(); ++i) x.push_back(get(t, i));
  return x;
}

}  // namespace fovea::testing
