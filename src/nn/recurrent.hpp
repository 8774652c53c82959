// Recurrent layers bound to their tensors, as PyTorch names and orders them.
#pragma once
#include <cstdint>
#include <span>

#include "nn/weights.hpp"
#include "ops/recurrent.hpp"

namespace fovea::nn {

/// The four tensors of a GRU: W_ih [3 · width, in], W_hh [3 · width, width], b_ih and b_hh [3 · width], gates r, z, n.
struct GruParameters {
  Tensor from_input, from_state, input_bias, state_bias;

  GruParameters() = default;
  /// `weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, each with `suffix` after it.
  GruParameters(const Weights& weights, std::string_view suffix, std::int64_t in, std::int64_t width);
};

/// One step (PyTorch's nn.GRUCell): x F32 [rows, in], state F32 [rows, width] → [rows, width].
class GruCell {
 public:
  GruCell() = default;
  GruCell(const Weights& weights, std::int64_t in, std::int64_t width) : parameters_(weights, "", in, width) {}
  Tensor operator()(const Tensor& x, const Tensor& state) const;

 private:
  GruParameters parameters_;
};

/// A whole sequence in one direction (nn.GRU of one layer; tensors end in `_l0`, or `_l0_reverse` backward).
class Gru {
 public:
  Gru() = default;
  Gru(const Weights& weights, std::int64_t in, std::int64_t width, Direction direction = Direction::Forward);
  /// x F32 [time, batch, in], padded beyond each sequence's length; `initial` [batch, width], empty for zeros. States
  /// [time, batch, width], zeros beyond the length.
  Tensor operator()(const Tensor& x, std::span<const int> lengths, const Tensor& initial = {}) const;

 private:
  GruParameters parameters_;
  Direction direction_ = Direction::Forward;
};

/// Both directions side by side (Schuster & Paliwal 1997; nn.GRU with bidirectional=True): x F32 [time, batch, in] →
/// [time, batch, 2 · width], the forward states first. What lies beyond a sequence's length is never seen.
class BidirectionalGru {
 public:
  BidirectionalGru() = default;
  BidirectionalGru(const Weights& weights, std::int64_t in, std::int64_t width)
      : forward_(weights, in, width), backward_(weights, in, width, Direction::Backward) {}
  Tensor operator()(const Tensor& x, std::span<const int> lengths) const;

 private:
  Gru forward_, backward_;
};

}  // namespace fovea::nn
