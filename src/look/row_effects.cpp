#include "look/row_effects.hpp"

#include <algorithm>
#include <cmath>

#include "look/leverage.hpp"

namespace fovea::look {

RowEffects::RowEffects(const HeadRows& rows)
    : rows_(&rows), d_(static_cast<std::size_t>(rows.value_dim())), gram_(rows.gram()), output_(d_) {
  const auto keys = static_cast<std::size_t>(rows.keys());
  moved_.resize(keys * d_);
  square_.resize(keys);
  for (std::size_t j = 0; j < keys; ++j) {
    const std::span v = rows.value(static_cast<int>(j));
    for (std::size_t a = 0; a < d_; ++a) {
      double sum = 0;
      for (std::size_t b = 0; b < d_; ++b) sum += gram_[a * d_ + b] * static_cast<double>(v[b]);
      moved_[j * d_ + a] = sum;
      square_[j] += sum * static_cast<double>(v[a]);
    }
  }
}

double RowEffects::value_norm(int key) const { return std::sqrt(std::fmax(0, square_[static_cast<std::size_t>(key)])); }

double RowEffects::form(std::span<const double> x) const {
  double sum = 0;
  for (std::size_t a = 0; a < d_; ++a)
    for (std::size_t b = 0; b < d_; ++b) sum += x[a] * gram_[a * d_ + b] * x[b];
  return sum;
}

void RowEffects::enter(int query, std::span<const float> weights) {
  weights_ = weights;
  // The kernel's output is the row's mixture to a float's rounding, which only shows where one key has nearly all.
  constexpr float kMuch = 0.9f;
  const std::span known = rows_->output(query);
  if (!known.empty() && std::ranges::all_of(weights, [](float a) { return a <= kMuch; })) {
    mass_ = 1;
    output_.assign(known.begin(), known.end());
    output_square_ = form(output_);
    return;
  }
  mass_ = rows_->sink(query);
  output_.assign(d_, 0);
  for (std::size_t j = 0; j < weights.size(); ++j) {
    if (weights[j] == 0) continue;  // what is hidden may hold NaN
    const double a = static_cast<double>(weights[j]);
    const float* v = rows_->value(static_cast<int>(j)).data();
    for (std::size_t c = 0; c < d_; ++c) output_[c] += a * static_cast<double>(v[c]);
    mass_ += a;
  }
  if (mass_ > 0)
    for (double& x : output_) x /= mass_;
  output_square_ = form(output_);
}

double RowEffects::effect(int key) const {
  const auto j = static_cast<std::size_t>(key);
  const double a = static_cast<double>(weights_[j]);
  if (a == 0) return 0;
  const double leverage = edge_leverage(a, mass_);
  if (std::isinf(leverage)) return leverage;
  double across = 0;
  for (std::size_t c = 0; c < d_; ++c) across += output_[c] * moved_[j * d_ + c];
  double square = output_square_ - 2 * across + square_[j];
  constexpr double kCancelled = 1e-6;  // of what was subtracted: ten digits are left above it
  if (!(square > kCancelled * (output_square_ + square_[j]))) {
    // A saturated row: o is next to v, and the difference must be taken first.
    std::vector<double> apart(output_);
    const std::span v = rows_->value(key);
    for (std::size_t c = 0; c < d_; ++c) apart[c] -= static_cast<double>(v[c]);
    square = form(apart);
  }
  return leverage * std::sqrt(std::fmax(0, square));
}

}  // namespace fovea::look
