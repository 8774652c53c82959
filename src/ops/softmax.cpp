#include "ops/softmax.hpp"

#include "ops/cut.hpp"
#include "ops/row_softmax.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

std::int64_t width_of(const char* op, const Tensor& x) {
  const int rank = x.shape().rank();
  if (rank == 0 || x.shape()[rank - 1] < 1)
    throw Error(fmt::format("{}: x is {}; expected rows of at least one number", op, x.view().str()));
  return x.shape()[rank - 1];
}

/// dx = y ∘ (dy − Σ y ∘ dy), row by row.
template <class T>
Tensor softmax_backward(const Tensor& y, const Tensor& dy, std::int64_t width) {
  Tensor dx = Tensor::unset(y.dtype(), y.shape());
  const T *weight = y.data<T>(), *d = dy.data<T>();
  T* to = dx.data<T>();
  for_rows(y.elements() / width, width, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t at = first * width; at < last * width; at += width) {
      T mean = 0;
      for (std::int64_t i = at; i < at + width; ++i) mean += weight[i] * d[i];
      for (std::int64_t i = at; i < at + width; ++i) to[i] = weight[i] * (d[i] - mean);
    }
  });
  return dx;
}

/// dx = dy − e^y · Σ dy, row by row.
template <class T>
Tensor log_softmax_backward(const Tensor& y, const Tensor& dy, std::int64_t width) {
  Tensor dx = Tensor::unset(y.dtype(), y.shape());
  const T* d = dy.data<T>();
  T* to = dx.data<T>();
  for_rows(y.elements() / width, width, [&](std::int64_t first, std::int64_t last) {
    row_softmax(y.data<T>() + first * width, last - first, width, to + first * width, static_cast<T*>(nullptr));
    for (std::int64_t at = first * width; at < last * width; at += width) {
      T sum = 0;
      for (std::int64_t i = at; i < at + width; ++i) sum += d[i];
      for (std::int64_t i = at; i < at + width; ++i) to[i] = d[i] - to[i] * sum;
    }
  });
  return dx;
}

}  // namespace

Tensor softmax(const Tensor& x) {
  const std::int64_t width = width_of("softmax", x);
  return by_precision("softmax", x, [&]<class T>(T) {
    Tensor y = Tensor::unset(x.dtype(), x.shape());
    T* to = y.data<T>();
    for_rows(x.elements() / width, width, [&](std::int64_t first, std::int64_t last) {
      row_softmax(x.data<T>() + first * width, last - first, width, to + first * width, static_cast<T*>(nullptr));
    });
    if (Tape* tape = Tape::current())
      tape->record(y, {x}, [=](Tape& t, const Tensor& dy) { t.add(x, softmax_backward<T>(y, dy, width)); });
    return y;
  });
}

Tensor log_softmax(const Tensor& x) {
  const std::int64_t width = width_of("log_softmax", x);
  return by_precision("log_softmax", x, [&]<class T>(T) {
    Tensor y = Tensor::unset(x.dtype(), x.shape()), lse(x.dtype(), {x.elements() / width});
    const T* from = x.data<T>();
    T *to = y.data<T>(), *sums = lse.data<T>();
    for_rows(x.elements() / width, width, [&](std::int64_t first, std::int64_t last) {
      row_softmax(from + first * width, last - first, width, static_cast<T*>(nullptr), sums + first);
      for (std::int64_t r = first; r < last; ++r)
        for (std::int64_t i = r * width; i < (r + 1) * width; ++i) to[i] = from[i] - sums[r];
    });
    if (Tape* tape = Tape::current())
      tape->record(y, {x}, [=](Tape& t, const Tensor& dy) { t.add(x, log_softmax_backward<T>(y, dy, width)); });
    return y;
  });
}

}  // namespace fovea
