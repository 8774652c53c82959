// One weight row of one head, and what taking keys out of it does to the head's output, in closed form.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "look/rows.hpp"

namespace fovea::look {

double norm(std::span<const double> x);

/// Sums are taken in double, with p_j = A_ij / ΣA over the row's own weights; see edge_leverage.
class RowSums {
 public:
  RowSums(const models::LayerRecord& record, int sequence, int head, int query);

  double weight(int key) const { return static_cast<double>(weights_[static_cast<std::size_t>(key)]); }
  int visible() const { return visible_; }
  int width() const { return rows_.width(); }

  /// sum [width] += W_O Σ A_ij v_j over these keys, each named once: what they carried (Kobayashi et al. 2020, arXiv
  /// 2004.10102).
  void add_carried(std::span<const int> keys, std::span<double> sum) const;
  /// sum [width] += W_O Δo, Δo = Σ p_j (o − v_j) / (1 − Σ p_j): this head's output without these keys, which is what
  /// masking them before the softmax gives, less its output with them. False, and nothing is added, when they are all
  /// that the row has.
  bool add_change(std::span<const int> keys, std::span<double> sum) const;
  /// g · Δo: what that change does to a number whose slope to the head's output is g [value_dim], to first order.
  /// Infinity when these keys are all that the row has.
  double sloped_change(std::span<const int> keys, std::span<const float> g) const;

 private:
  /// Δo [value_dim]; nothing when the keys are all that the row has.
  std::optional<std::vector<double>> change(std::span<const int> keys) const;
  HeadRows rows_;
  std::vector<float> weights_;   // [keys]
  std::vector<double> mixture_;  // Σ_j A_ij v_j [value_dim]
  double mass_;                  // Σ_j A_ij, the sink's share included
  int visible_;
};

}  // namespace fovea::look
