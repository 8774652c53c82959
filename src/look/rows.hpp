// One head of one layer over one sequence, as every view reads it: bands of weight rows, and what stands around them.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include <fovea/trace.hpp>

#include "models/encoder.hpp"

namespace fovea::look {

inline constexpr int kOnlySequence = 0;  // of a run, which is one text

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
  /// What its rows add up to; `along` [keys] as in TraceQuery.
  Trace trace(std::span<const float> along) const;
  /// Of each of these queries a number that none of its weights exceeds, keys left out ([keys], empty:
  /// none) apart. Costs no row: greatest scores and LSE are known, and of keys left out a column each is asked.
  std::vector<double> ceilings(std::span<const int> queries, const std::vector<bool>& left_out) const;
  /// o_i [value_dim] as the kernel put it out; empty where that was rounded to fewer bits than F32 has.
  std::span<const float> output(int query) const;
  /// What a learned sink took from a row: the virtual column. 0 without sinks.
  double sink(int query) const;
  bool has_sinks() const;
  /// n_i: how many keys the mask shows to a row (whatever their weight).
  int visible(int query) const;
  /// Whether no mask hides anything from any row.
  bool all_visible() const;
  /// The keys that the mask shows to a row, ascending: visit(first, last) for each run of them within a tile.
  template <class Visit>
  void for_visible(int query, Visit visit) const;
  /// max |Σ_j A_ij v_j − o_i| over channels.
  double max_abs_error(int query, std::span<const float> row) const;
  std::span<const float> value(int key) const;  // v_j [value_dim]
  /// sum [width] += W_O x with this head's slice of W_O, x [value_dim].
  void add_projected(std::span<const double> x, std::span<double> sum) const;
  int width() const { return static_cast<int>(record_->output_weight.shape[0]); }
  /// W_Oᵀ W_O of this head's slice, [value_dim, value_dim]: ‖W_O x‖² = xᵀ(W_Oᵀ W_O)x, for who needs many.
  std::vector<double> gram() const;

 private:
  double longest_key() const;                       // max_j |k_j|
  double inexactness(int query, double key) const;  // of a weight, relative; key: longest_key()
  /// What a row's keys that are left out have of its weight, [last − first query + 1].
  std::vector<double> left_out_share(Range queries, const std::vector<bool>& left_out) const;
  /// Of Attention's lse and max, F32 [1, heads, time].
  double of_row(const Tensor& x, int query) const;
  const models::LayerRecord* record_;
  int sequence_, head_, kv_head_;
  Range queries_, keys_;  // of this sequence, along the packed time
  Tensor values_;         // F32 [1, tokens, kv_heads, value_dim]
};

template <class Visit>
void HeadRows::for_visible(int query, Visit visit) const {
  const MaskView& mask = record_->attention.spec().mask.view();
  if (!mask.self) return visit(0, keys());
  Tile tile{sequence_, head_, {query, query + 1}, {}, queries(), keys()};
  const Range span = mask.span(mask.self, tile);
  for (int key = span.begin; key < span.end; key += kTileKeys) {
    tile.key = {key, std::min(key + kTileKeys, span.end)};
    std::uint64_t bits = 0;
    const Cover cover = mask.bits(mask.self, tile, &bits);
    if (cover == Cover::Full) visit(tile.key.begin, tile.key.end);
    if (cover != Cover::Partial) continue;
    while (bits != 0) {
      const int from = std::countr_zero(bits), length = std::countr_one(bits >> from);
      visit(key + from, key + from + length);
      bits = from + length < kTileKeys ? bits >> (from + length) << (from + length) : 0;
    }
  }
}

}  // namespace fovea::look
