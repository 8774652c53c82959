#include "ops/linear.hpp"

#include <fmt/format.h>

#include "core/convert.hpp"
#include "ops/cut.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

void check(const Tensor& x, std::int64_t in) {
  if (x.shape().rank() != 2 || x.shape()[1] != in)
    throw Error(fmt::format("linear: x is {}; expected [rows, {}]", x.view().str(), in));
}

template <class T>
const T* values_or_null(const Tensor& t) {
  return t.empty() ? nullptr : t.data<T>();
}

/// dx = dy · W, dW = dyᵀ · x, db = the sums of dy's columns.
template <class T>
void backward(Tape& tape, const Tensor& dy, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const std::int64_t rows = x.shape()[0], in = x.shape()[1], out = weight.shape()[0];
  const T* d = dy.data<T>();
  if (tape.tracks(x)) {
    Tensor dx = Tensor::unset(x.dtype(), x.shape());
    multiply(d, rows, pack(weight.data<T>(), out, in, tape.products()), static_cast<const T*>(nullptr),
             dx.template data<T>());
    tape.add(x, std::move(dx));
  }
  if (tape.tracks(weight)) {
    Tensor dw = Tensor::unset(x.dtype(), weight.shape());
    multiply_turned(d, x.data<T>(), rows, out, in, dw.template data<T>(), tape.products());
    tape.add(weight, std::move(dw));
  }
  if (tape.tracks(bias)) {
    Tensor db(x.dtype(), bias.shape());
    sum_all_rows(d, rows, out, db.template data<T>());
    tape.add(bias, std::move(db));
  }
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (weight.shape().rank() != 2)
    throw Error(fmt::format("linear: weight is {}; expected [out, in]", weight.view().str()));
  const std::int64_t out = weight.shape()[0], in = weight.shape()[1];
  check(x, in);
  check_like("linear", "weight", weight, x.dtype(), {out, in});
  if (!bias.empty()) check_like("linear", "bias", bias, x.dtype(), {out});
  return by_precision("linear", x, [&]<class T>(T) {
    const std::int64_t rows = x.shape()[0];
    Tensor y = Tensor::unset(x.dtype(), {rows, out});
    const Panels panels = pack_turned(weight.data<T>(), out, in, Tape::current_products());
    multiply(x.data<T>(), rows, panels, values_or_null<T>(bias), y.template data<T>());
    if (Tape* tape = Tape::current())
      tape->record(y, {x, weight, bias}, [=](Tape& t, const Tensor& dy) { backward<T>(t, dy, x, weight, bias); });
    return y;
  });
}

PackedLinear::PackedLinear(const TensorView& weight, const Tensor& bias) {
  if (weight.shape.rank() != 2 || !is_float(weight.dtype))
    throw Error(fmt::format("linear: weight is {}; expected floats [out_features, in_features]", weight.str()));
  const std::int64_t out = weight.shape[0], in = weight.shape[1];
  if (!bias.empty() && (bias.elements() != out || bias.shape().rank() != 1))
    throw Error(fmt::format("linear: bias is {}; expected [{}]", bias.view().str(), out));
  if (weight.dtype == DType::F32 && weight.contiguous()) {
    panels_ = pack_turned(static_cast<const float*>(weight.data), out, in);
  } else {
    Tensor widened = Tensor::unset(DType::F32, weight.shape);
    float* to = widened.data<float>();
    for_rows(out, in, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t o = first; o < last; ++o)
        widen(weight.dtype, weight.data, o * weight.strides[0], weight.strides[1], in, to + o * in);
    });
    panels_ = pack_turned(to, out, in);
  }
  back_ = std::make_shared<WayBack>();
  if (!bias.empty())
    bias_ = bias.dtype() == DType::F32 ? bias.clone() : bias.to(DType::F32);  // not the caller's memory
}

Tensor PackedLinear::operator()(const Tensor& x) const {
  check(x, panels_.depth);
  const std::int64_t rows = x.shape()[0];
  Tensor y = Tensor::unset(DType::F32, {rows, panels_.columns});
  multiply(x.data<float>(), rows, panels_, values_or_null<float>(bias_), y.data<float>());
  if (Tape* tape = Tape::current())
    tape->record(y, {x}, [x, panels = panels_, back = back_](Tape& t, const Tensor& dy) {
      Tensor dx = Tensor::unset(DType::F32, x.shape());
      multiply(dy.data<float>(), x.shape()[0], packed_back(panels, *back), nullptr, dx.data<float>());
      t.add(x, std::move(dx));
    });
  return y;
}

const Panels& PackedLinear::packed_back(const Panels& forward, WayBack& back) {
  std::call_once(back.once, [&] {
    const Tensor weight = unpack_turned(forward);
    back.panels = pack(weight.data<float>(), forward.columns, forward.depth);
  });
  return back.panels;
}

}  // namespace fovea
