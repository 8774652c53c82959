#include "ops/repeated_linear.hpp"

#include <utility>
#include <vector>

#include "ops/cut.hpp"
#include "ops/panels.hpp"
#include "ops/tape.hpp"

namespace fovea {

struct RepeatedLinear::Steps {
  Tensor weight, bias;
  Panels across;              // of Wᵀ
  Panels back;                // of W, packed when the way back first asks for it
  Tensor anchor;              // one element: recorded before all calls, so that its step comes after theirs
  std::vector<Tensor> x, dy;  // of each call that has come back

  template <class T>
  void add_gradients(Tape& tape);
};

namespace {

/// [rows, width] tensors one below the other, on no tape.
template <class T>
Tensor one_below_the_other(const std::vector<Tensor>& parts, std::int64_t width) {
  std::int64_t rows = 0;
  for (const Tensor& t : parts) rows += t.shape()[0];
  Tensor all = Tensor::unset(dtype_of<T>, {rows, width});
  T* to = all.template data<T>();
  for (const Tensor& t : parts) to = std::copy_n(t.data<T>(), t.elements(), to);
  return all;
}

}  // namespace

/// dW = dyᵀ · x and db = the sums of dy's columns, over the rows of all calls.
template <class T>
void RepeatedLinear::Steps::add_gradients(Tape& tape) {
  const std::int64_t out = weight.shape()[0], in = weight.shape()[1];
  const Tensor all_dy = one_below_the_other<T>(dy, out), all_x = one_below_the_other<T>(x, in);
  const std::int64_t rows = all_x.shape()[0];
  const T* d = all_dy.data<T>();
  if (tape.tracks(weight)) {
    Tensor dw = Tensor::unset(weight.dtype(), weight.shape());
    multiply_turned(d, all_x.data<T>(), rows, out, in, dw.template data<T>(), tape.products());
    tape.add(weight, std::move(dw));
  }
  if (!tape.tracks(bias)) return;
  Tensor db(bias.dtype(), bias.shape());
  sum_all_rows(d, rows, out, db.template data<T>());
  tape.add(bias, std::move(db));
}

RepeatedLinear::RepeatedLinear(const Tensor& weight, const Tensor& bias) : steps_(std::make_shared<Steps>()) {
  if (weight.shape().rank() != 2)
    throw Error(fmt::format("linear: weight is {}; expected [out, in]", weight.view().str()));
  const std::int64_t out = weight.shape()[0], in = weight.shape()[1];
  if (!bias.empty()) check_like("linear", "bias", bias, weight.dtype(), {out});
  steps_->weight = weight, steps_->bias = bias;
  by_precision("linear", weight, [&]<class T>(T) {
    steps_->across = pack_turned(weight.data<T>(), out, in, Tape::current_products());
    if (Tape* tape = Tape::current()) {
      steps_->anchor = Tensor(weight.dtype(), {1});
      tape->record(steps_->anchor, {weight, bias},
                   [steps = steps_](Tape& t, const Tensor&) { steps->add_gradients<T>(t); });
    }
    return 0;
  });
}

Tensor RepeatedLinear::operator()(const Tensor& x) const {
  const std::int64_t out = steps_->weight.shape()[0], in = steps_->weight.shape()[1];
  if (x.shape().rank() != 2) throw Error(fmt::format("linear: x is {}; expected [rows, {}]", x.view().str(), in));
  check_like("linear", "x", x, steps_->weight.dtype(), {x.shape()[0], in});
  return by_precision("linear", x, [&]<class T>(T) {
    const std::int64_t rows = x.shape()[0];
    Tensor y = Tensor::unset(x.dtype(), {rows, out});
    multiply(x.data<T>(), rows, steps_->across, steps_->bias.empty() ? nullptr : steps_->bias.data<T>(),
             y.template data<T>());
    if (Tape* tape = Tape::current())
      tape->record(y, {x, steps_->anchor}, [x, out, in, steps = steps_](Tape& t, const Tensor& dy) {
        if (t.tracks(x)) {
          if (steps->back.data.empty()) steps->back = pack(steps->weight.data<T>(), out, in, t.products());
          Tensor dx = Tensor::unset(x.dtype(), x.shape());
          multiply(dy.data<T>(), x.shape()[0], steps->back, static_cast<const T*>(nullptr), dx.template data<T>());
          t.add(x, std::move(dx));
        }
        if (!t.tracks(steps->anchor)) return;
        steps->x.push_back(x), steps->dy.push_back(dy);
        t.add(steps->anchor, Tensor(x.dtype(), {1}));
      });
    return y;
  });
}

}  // namespace fovea
