// How far one edge of a row can move it: the closed form that every local effect shares.
#pragma once
#include <limits>

namespace fovea::look {

/// p/(1−p), p = a/mass the edge's share of the row: Δo = p/(1−p)·(o − v) is what masking the edge out before the
/// softmax changes. Sums are taken in double over the row's own weights, so that 1 − p stays exact to many digits where
/// the weight, a float, is next to 1. Infinity when the edge is all that the row has.
inline double edge_leverage(double a, double mass) {
  constexpr double kWholeRow = 4 * std::numeric_limits<float>::epsilon();
  const double rest = (mass - a) / mass;
  return rest <= kWholeRow ? std::numeric_limits<double>::infinity() : a / mass / rest;
}

}  // namespace fovea::look
