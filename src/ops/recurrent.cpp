#include "ops/recurrent.hpp"

#include <memory>

#include "ops/cut.hpp"
#include "ops/gates.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

/// [rows, width] of a state, after the two [rows, count · width] are found to belong to it.
void check_cell(const char* op, std::int64_t count, const Tensor& from_input, const Tensor& from_state,
                const Tensor& state) {
  if (state.shape().rank() != 2)
    throw Error(fmt::format("{}: the state is {}; expected [rows, width]", op, state.view().str()));
  const Shape gates{state.shape()[0], count * state.shape()[1]};
  check_like(op, "from_input", from_input, state.dtype(), gates);
  check_like(op, "from_state", from_state, state.dtype(), gates);
}

}  // namespace

Tensor gru_cell(const Tensor& from_input, const Tensor& from_state, const Tensor& state) {
  check_cell("gru_cell", 3, from_input, from_state, state);
  return by_precision("gru_cell", state, [&]<class T>(T) {
    const std::int64_t rows = state.shape()[0], width = state.shape()[1];
    Tensor out(state.dtype(), state.shape()), gates(state.dtype(), from_input.shape());
    gates::gru(rows, width, from_input.data<T>(), from_state.data<T>(), state.data<T>(), gates.data<T>(),
               out.template data<T>());
    if (Tape* tape = Tape::current())
      tape->record(out, {from_input, from_state, state}, [=](Tape& t, const Tensor& dout) {
        Tensor dx(state.dtype(), gates.shape()), ds(state.dtype(), gates.shape()), dstate(state.dtype(), state.shape());
        gates::gru_backward(rows, width, dout.data<T>(), gates.data<T>(), from_state.data<T>(), state.data<T>(),
                            dx.data<T>(), ds.data<T>(), dstate.data<T>());
        t.add(from_input, std::move(dx));
        t.add(from_state, std::move(ds));
        t.add(state, std::move(dstate));
      });
    return out;
  });
}

LstmState lstm_cell(const Tensor& from_input, const Tensor& from_state, const Tensor& memory) {
  check_cell("lstm_cell", 4, from_input, from_state, memory);
  return by_precision("lstm_cell", memory, [&]<class T>(T) {
    const std::int64_t rows = memory.shape()[0], width = memory.shape()[1];
    Tensor hidden(memory.dtype(), memory.shape()), next(memory.dtype(), memory.shape()),
        gates(memory.dtype(), from_input.shape());
    gates::lstm(rows, width, from_input.data<T>(), from_state.data<T>(), memory.data<T>(), gates.data<T>(),
                next.template data<T>(), hidden.template data<T>());
    if (Tape* tape = Tape::current()) {
      // Two results, and one way back for both: the step of `hidden` comes first and leaves its gradient here. It adds
      // zeros to that of `next`, so that the step which does the work always runs.
      const auto dhidden = std::make_shared<Tensor>();
      tape->record(next, {from_input, from_state, memory}, [=](Tape& t, const Tensor& dnext) {
        if (dhidden->empty()) *dhidden = Tensor(memory.dtype(), memory.shape());
        Tensor dgates(memory.dtype(), gates.shape()), dmemory(memory.dtype(), memory.shape());
        gates::lstm_backward(rows, width, dhidden->data<T>(), dnext.data<T>(), gates.data<T>(), memory.data<T>(),
                             next.data<T>(), dgates.data<T>(), dmemory.data<T>());
        t.add(from_input, dgates);
        t.add(from_state, std::move(dgates));
        t.add(memory, std::move(dmemory));
      });
      tape->record(hidden, {next}, [=](Tape& t, const Tensor& dout) {
        *dhidden = dout;
        t.add(next, Tensor(memory.dtype(), memory.shape()));
      });
    }
    return LstmState{hidden, next};
  });
}

}  // namespace fovea
