// One head of one layer over one sequence, as every view reads it: bands of weight rows, and what stands around them.
#pragma once
#include <span>
#include <vector>

#include "models/encoder.hpp"

namespace fovea::look {

/// Borrows the record. Rows are rebuilt on each call and never kept, so memory is O(keys) whatever the length.
class HeadRows {
 public:
  HeadRows(const models::LayerRecord& record, int sequence, int head);

  int queries() const { return queries_.end - queries_.begin; }
  int keys() const { return keys_.end - keys_.begin; }
  int value_dim() const { return static_cast<int>(values_.shape()[3]); }

  /// Rows of a band that stays within a fixed size; depends on the number of keys alone.
  int band() const;
  std::vector<float> weights(Range rows) const;  // [rows, keys]
  /// What a learned sink took from a row: the virtual column. 0 without sinks.
  double sink(int query) const;
  /// n_i: how many keys the mask shows to a row (whatever their weight).
  int visible(int query) const;
  /// max |Σ_j A_ij v_j − o_i| over channels.
  double max_abs_error(int query, std::span<const float> row) const;
  std::span<const float> value(int key) const;  // v_j [value_dim]
  /// sum [width] += W_O x with this head's slice of W_O, x [value_dim].
  void add_projected(std::span<const double> x, std::span<double> sum) const;
  int width() const { return static_cast<int>(record_->output_weight.shape[0]); }

 private:
  const models::LayerRecord* record_;
  int sequence_, head_, kv_head_;
  Range queries_, keys_;  // of this sequence, along the packed time
  Tensor values_;         // F32 [1, tokens, kv_heads, value_dim]
};

}  // namespace fovea::look
