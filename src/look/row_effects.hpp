// The local effects of all edges of a head, each in O(value_dim) instead of a product with W_O.
#pragma once
#include <span>
#include <vector>

#include "look/rows.hpp"

namespace fovea::look {

/// ‖W_O Δo‖ for edge after edge (definition: Link::local_effect). With M = W_OᵀW_O of the head,
/// ‖W_O(o − v)‖² = oᵀMo − 2 oᵀ(Mv) + vᵀMv, where Mv and vᵀMv are worked out once a key and oᵀMo once a row.
class RowEffects {
 public:
  explicit RowEffects(const HeadRows& rows);  // borrows

  double value_norm(int key) const;  // ‖W_O v_j‖
  /// Makes this the row that effect() speaks of.
  void enter(int query, std::span<const float> weights);  // [keys]
  double effect(int key) const;
  double mass() const { return mass_; }  // Σ_j A_ij, the sink's share included

 private:
  double form(std::span<const double> x) const;  // xᵀMx
  const HeadRows* rows_;
  std::size_t d_;               // value_dim
  std::vector<double> gram_;    // M [value_dim, value_dim]
  std::vector<double> moved_;   // M v_j [keys, value_dim]
  std::vector<double> square_;  // v_jᵀ M v_j [keys]
  std::span<const float> weights_;
  std::vector<double> output_;  // o_i [value_dim]
  double mass_ = 0, output_square_ = 0;
};

}  // namespace fovea::look
