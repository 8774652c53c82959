// A GRU over whole padded sequences, and back through time (Werbos 1990).
#include <cstring>
#include <vector>

#include "ops/cut.hpp"
#include "ops/gates.hpp"
#include "ops/panels.hpp"
#include "ops/recurrent.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

struct Sequence {
  std::int64_t time, batch, width;
  std::vector<int> lengths;  // [batch]
  Direction direction;

  std::int64_t at(std::int64_t step) const { return direction == Direction::Forward ? step : time - 1 - step; }
  bool active(std::int64_t t, std::int64_t row) const { return t < lengths[static_cast<std::size_t>(row)]; }
};

/// What the way back reads.
struct Kept {
  Tensor from_state;  // [time, batch, 3 · width]: h·W_hhᵀ + b_hh
  Tensor gates;       // [time, batch, 3 · width]: r, z, n
  Tensor previous;    // [time, batch, width]: the state that each element met
};

template <class T>
void copy_row(const T* from, T* to, std::int64_t row, std::int64_t width) {
  std::copy_n(from + row * width, width, to + row * width);
}

/// Rows beyond their length go along, since most are within; their outcome is dropped.
template <class T>
Tensor forward(const Sequence& s, const T* x, const Panels& weight, const T* bias, const Tensor& initial, Kept& kept) {
  const std::int64_t step_rows = s.batch * s.width;
  const DType type = dtype_of<T>;
  Tensor states(type, {s.time, s.batch, s.width});
  kept.previous = Tensor(type, states.shape());
  kept.from_state = Tensor(type, {s.time, s.batch, 3 * s.width});
  kept.gates = Tensor(type, kept.from_state.shape());
  Tensor state = initial.empty() ? Tensor(type, {s.batch, s.width}) : initial.clone();
  T* now = state.data<T>();
  for (std::int64_t step = 0; step < s.time; ++step) {
    const std::int64_t t = s.at(step);
    T *from = kept.from_state.data<T>() + 3 * t * step_rows, *previous = kept.previous.data<T>() + t * step_rows,
      *out = states.data<T>() + t * step_rows;
    std::copy_n(now, step_rows, previous);
    multiply(previous, s.batch, weight, bias, from);
    gates::gru(s.batch, s.width, x + 3 * t * step_rows, from, previous, kept.gates.data<T>() + 3 * t * step_rows, out);
    for (std::int64_t row = 0; row < s.batch; ++row) {
      if (s.active(t, row))
        copy_row(out, now, row, s.width);
      else
        std::fill_n(out + row * s.width, s.width, T(0));
    }
  }
  return states;
}

struct SequenceGradients {
  Tensor from_input, from_state, initial;
};

template <class T>
SequenceGradients backward(const Sequence& s, const Kept& kept, const Panels& weight, const T* dstates) {
  const std::int64_t step_rows = s.batch * s.width;
  const DType type = dtype_of<T>;
  SequenceGradients g{Tensor(type, kept.gates.shape()), Tensor(type, kept.gates.shape()),
                      Tensor(type, {s.batch, s.width})};
  Tensor sums(type, {s.batch, s.width}), direct(type, {s.batch, s.width}), through(type, {s.batch, s.width});
  T *carried = g.initial.data<T>(), *d = sums.data<T>();
  for (std::int64_t step = s.time - 1; step >= 0; --step) {
    const std::int64_t t = s.at(step), wide = 3 * t * step_rows;
    for (std::int64_t row = 0; row < s.batch; ++row)  // a row that is dropped receives nothing and passes nothing on
      for (std::int64_t i = row * s.width; i < (row + 1) * s.width; ++i)
        d[i] = s.active(t, row) ? carried[i] + dstates[t * step_rows + i] : T(0);
    T* ds = g.from_state.data<T>() + wide;
    gates::gru_backward(s.batch, s.width, d, kept.gates.data<T>() + wide, kept.from_state.data<T>() + wide,
                        kept.previous.data<T>() + t * step_rows, g.from_input.data<T>() + wide, ds, direct.data<T>());
    multiply(ds, s.batch, weight, static_cast<const T*>(nullptr), through.data<T>());
    for (std::int64_t row = 0; row < s.batch; ++row) {
      if (!s.active(t, row)) continue;
      for (std::int64_t i = row * s.width; i < (row + 1) * s.width; ++i)
        carried[i] = direct.data<T>()[i] + through.data<T>()[i];
    }
  }
  return g;
}

Sequence checked(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& initial,
                 std::span<const int> lengths, Direction direction) {
  if (x.shape().rank() != 3 || x.shape()[2] % 3 != 0)
    throw Error(fmt::format("gru_sequence: from_input is {}; expected [time, batch, 3 · width]", x.view().str()));
  const std::int64_t time = x.shape()[0], batch = x.shape()[1], width = x.shape()[2] / 3;
  check_like("gru_sequence", "weight", weight, x.dtype(), {3 * width, width});
  check_like("gru_sequence", "bias", bias, x.dtype(), {3 * width});
  if (!initial.empty()) check_like("gru_sequence", "initial", initial, x.dtype(), {batch, width});
  if (std::ssize(lengths) != batch)
    throw Error(
        fmt::format("gru_sequence: {} lengths for a batch of {}; expected one a sequence", lengths.size(), batch));
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] < 0 || lengths[i] > time)
      throw Error(fmt::format("gru_sequence: length {} is {}; expected 0 to {}", i, lengths[i], time));
  return {time, batch, width, {lengths.begin(), lengths.end()}, direction};
}

}  // namespace

Tensor gru_sequence(const Tensor& from_input, const Tensor& weight, const Tensor& bias, const Tensor& initial,
                    std::span<const int> lengths, Direction direction) {
  const Sequence s = checked(from_input, weight, bias, initial, lengths, direction);
  return by_precision("gru_sequence", from_input, [&]<class T>(T) {
    const std::int64_t wide = 3 * s.width, rows = s.time * s.batch;
    Kept kept;
    const Panels across = pack_turned(weight.data<T>(), wide, s.width, Tape::current_products());
    Tensor states = forward<T>(s, from_input.data<T>(), across, bias.data<T>(), initial, kept);
    if (Tape* tape = Tape::current())
      tape->record(states, {from_input, weight, bias, initial}, [=](Tape& t, const Tensor& dstates) {
        SequenceGradients g =
            backward<T>(s, kept, pack(weight.data<T>(), wide, s.width, t.products()), dstates.data<T>());
        const T* ds = g.from_state.template data<T>();
        Tensor dweight(weight.dtype(), weight.shape()), dbias(bias.dtype(), bias.shape());
        multiply_turned(ds, kept.previous.data<T>(), rows, wide, s.width, dweight.data<T>(), t.products());
        sum_all_rows(ds, rows, wide, dbias.data<T>());
        t.add(from_input, std::move(g.from_input));
        t.add(weight, std::move(dweight));
        t.add(bias, std::move(dbias));
        t.add(initial, std::move(g.initial));
      });
    return states;
  });
}

}  // namespace fovea
