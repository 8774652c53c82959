#include "nn/recurrent.hpp"

#include <array>

#include <fmt/format.h>

#include "ops/join.hpp"
#include "ops/linear.hpp"

namespace fovea::nn {

GruParameters::GruParameters(const Weights& weights, std::string_view suffix, std::int64_t in, std::int64_t width)
    : from_input(weights.f32(fmt::format("weight_ih{}", suffix), {3 * width, in})),
      from_state(weights.f32(fmt::format("weight_hh{}", suffix), {3 * width, width})),
      input_bias(weights.f32(fmt::format("bias_ih{}", suffix), {3 * width})),
      state_bias(weights.f32(fmt::format("bias_hh{}", suffix), {3 * width})) {}

Tensor GruCell::operator()(const Tensor& x, const Tensor& state) const {
  const GruParameters& p = parameters_;
  return gru_cell(linear(x, p.from_input, p.input_bias), linear(state, p.from_state, p.state_bias), state);
}

Gru::Gru(const Weights& weights, std::int64_t in, std::int64_t width, Direction direction)
    : parameters_(weights, direction == Direction::Forward ? "_l0" : "_l0_reverse", in, width), direction_(direction) {}

Tensor Gru::operator()(const Tensor& x, std::span<const int> lengths, const Tensor& initial) const {
  const GruParameters& p = parameters_;
  if (x.shape().rank() != 3) throw Error(fmt::format("gru: x is {}; expected [time, batch, width]", x.view().str()));
  const std::int64_t time = x.shape()[0], batch = x.shape()[1];
  // What comes from the input doesn't wait for the state: one product for all times.
  const Tensor from_input = linear(x.reshape({time * batch, x.shape()[2]}), p.from_input, p.input_bias);
  return gru_sequence(from_input.reshape({time, batch, p.input_bias.elements()}), p.from_state, p.state_bias, initial,
                      lengths, direction_);
}

Tensor BidirectionalGru::operator()(const Tensor& x, std::span<const int> lengths) const {
  const Tensor forward = forward_(x, lengths), backward = backward_(x, lengths);
  const std::int64_t time = forward.shape()[0], batch = forward.shape()[1], width = forward.shape()[2];
  const Shape rows{time * batch, width};
  return join_columns(std::array{forward.reshape(rows), backward.reshape(rows)}).reshape({time, batch, 2 * width});
}

}  // namespace fovea::nn
