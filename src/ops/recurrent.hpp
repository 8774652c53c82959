// Recurrent cells and a whole recurrent sequence, with PyTorch's order of gates and its two biases.
//
// A cell takes what its linear layers made of the input and of the state, x·W_ihᵀ + b_ih and h·W_hhᵀ + b_hh: the first
// can be had for all times at once. F32 or F64, all tensors alike.
#pragma once
#include <span>

#include <fovea/tensor.hpp>

namespace fovea {

/// Cho et al. 2014, 1406.1078, gates r, z, n: n = tanh(x_n + r ⊙ h_n) with b_hn inside, h' = (1 − z) ⊙ n + z ⊙ h.
/// from_input, from_state [rows, 3 · width], state [rows, width] → [rows, width].
Tensor gru_cell(const Tensor& from_input, const Tensor& from_state, const Tensor& state);

struct LstmState {
  Tensor hidden, memory;  // [rows, width]: h and c
};
/// Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, gates i, f, g, o: c' = f ⊙ c + i ⊙ g,
/// h' = o ⊙ tanh c'. from_input, from_state [rows, 4 · width], memory [rows, width].
LstmState lstm_cell(const Tensor& from_input, const Tensor& from_state, const Tensor& memory);

enum class Direction { Forward, Backward };

/// A GRU over padded sequences, time first: from_input [time, batch, 3 · width], weight W_hh [3 · width, width] and
/// bias b_hh [3 · width], `initial` [batch, width] or empty (zeros), one length a sequence → states [time, batch,
/// width], zeros beyond a sequence's length. Backward runs from each sequence's own last element to its first. One
/// operator: the weight is packed once, and its gradient is one product.
Tensor gru_sequence(const Tensor& from_input, const Tensor& weight, const Tensor& bias, const Tensor& initial,
                    std::span<const int> lengths, Direction direction);

}  // namespace fovea
