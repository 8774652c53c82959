#include "look/row_sums.hpp"

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "look/leverage.hpp"

namespace fovea::look {

double norm(std::span<const double> x) { return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0)); }

RowSums::RowSums(const models::LayerRecord& record, int sequence, int head, int query)
    : rows_(record, sequence, head),
      weights_(rows_.weights({query, query + 1})),
      mixture_(static_cast<std::size_t>(rows_.value_dim())),
      mass_(rows_.sink(query)),
      visible_(rows_.visible(query)) {
  for (int j = 0; j < rows_.keys(); ++j) {
    const double a = weight(j);
    if (a == 0) continue;  // what is hidden may hold NaN
    const std::span v = rows_.value(j);
    for (std::size_t c = 0; c < v.size(); ++c) mixture_[c] += a * static_cast<double>(v[c]);
    mass_ += a;
  }
}

void RowSums::add_carried(std::span<const int> keys, std::span<double> sum) const {
  std::vector<double> carried(mixture_.size());
  for (const int key : keys) {
    const double a = weight(key);
    if (a == 0) continue;
    const std::span v = rows_.value(key);
    for (std::size_t c = 0; c < v.size(); ++c) carried[c] += a * static_cast<double>(v[c]);
  }
  rows_.add_projected(carried, sum);
}

std::optional<std::vector<double>> RowSums::change(std::span<const int> keys) const {
  std::vector<double> change(mixture_.size());
  double taken = 0;
  for (const int key : keys) taken += weight(key);
  if (taken == 0) return change;
  const double leverage = edge_leverage(taken, mass_);  // of all of them as one edge to their mean value
  if (std::isinf(leverage)) return std::nullopt;
  for (const int key : keys) {
    const double share = leverage * weight(key) / taken;
    if (share == 0) continue;
    const std::span v = rows_.value(key);
    for (std::size_t c = 0; c < v.size(); ++c) change[c] += share * (mixture_[c] / mass_ - static_cast<double>(v[c]));
  }
  return change;
}

bool RowSums::add_change(std::span<const int> keys, std::span<double> sum) const {
  const std::optional moved = change(keys);
  if (moved) rows_.add_projected(*moved, sum);
  return moved.has_value();
}

double RowSums::sloped_change(std::span<const int> keys, std::span<const float> g) const {
  const std::optional moved = change(keys);
  if (!moved) return std::numeric_limits<double>::infinity();
  return std::inner_product(moved->begin(), moved->end(), g.begin(), 0.0, std::plus<>(),
                            [](double x, float slope) { return x * static_cast<double>(slope); });
}

}  // namespace fovea::look
