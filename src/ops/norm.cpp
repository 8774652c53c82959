#include "ops/norm.hpp"

#include <cmath>

#include <fmt/format.h>

#include "kernels/registry.hpp"
#include "ops/cut.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

/// `shift` is null for the norm that doesn't centre: the two are one formula otherwise.
template <class T>
struct Rows {
  const T* x;  // [rows, width]
  std::int64_t width;
  const T *gain, *shift;  // [width]
  float eps;
};

struct Moments {
  double mean, inverse;
};
Moments moments(const double* x, std::int64_t width, bool centred, float eps) {
  const auto n = static_cast<double>(width);
  double mean = 0, variance = 0;
  for (std::int64_t i = 0; centred && i < width; ++i) mean += x[i] / n;
  for (std::int64_t i = 0; i < width; ++i) variance += (x[i] - mean) * (x[i] - mean) / n;
  return {mean, 1 / std::sqrt(variance + static_cast<double>(eps))};
}

void forward(const Rows<double>& r, std::int64_t first, std::int64_t last, double* y) {
  for (std::int64_t row = first; row < last; ++row) {
    const double* x = r.x + row * r.width;
    const Moments m = moments(x, r.width, r.shift != nullptr, r.eps);
    for (std::int64_t i = 0; i < r.width; ++i)
      y[row * r.width + i] = (x[i] - m.mean) * m.inverse * r.gain[i] + (r.shift ? r.shift[i] : 0);
  }
}
void forward(const Rows<float>& r, std::int64_t first, std::int64_t last, float* y) {
  const int rows = static_cast<int>(last - first), width = static_cast<int>(r.width);
  const std::int64_t at = first * r.width;
  if (r.shift)
    active_table().layer_norm(r.x + at, rows, width, r.gain, r.shift, r.eps, y + at);
  else
    active_table().rms_norm(r.x + at, rows, width, r.gain, r.eps, y + at);
}

/// dx of these rows; dgain, and dshift after it, added to sums [2, width]. The formula stands at norm_backward of the
/// kernels.
void backward(const Rows<double>& r, const double* dy, std::int64_t first, std::int64_t last, double* dx,
              double* sums) {
  const auto n = static_cast<double>(r.width);
  for (std::int64_t row = first; row < last; ++row) {
    const double *x = r.x + row * r.width, *d = dy + row * r.width;
    const Moments m = moments(x, r.width, r.shift != nullptr, r.eps);
    double mean = 0, along = 0;
    for (std::int64_t i = 0; i < r.width; ++i) {
      const double g = d[i] * r.gain[i], normal = (x[i] - m.mean) * m.inverse;
      mean += r.shift ? g / n : 0;
      along += g * normal / n;
      sums[i] += d[i] * normal;
      sums[r.width + i] += d[i];
    }
    for (std::int64_t i = 0; i < r.width; ++i)
      dx[row * r.width + i] = m.inverse * (d[i] * r.gain[i] - mean - (x[i] - m.mean) * m.inverse * along);
  }
}
void backward(const Rows<float>& r, const float* dy, std::int64_t first, std::int64_t last, float* dx, float* sums) {
  const int rows = static_cast<int>(last - first), width = static_cast<int>(r.width);
  const std::int64_t at = first * r.width;
  if (r.shift)
    active_table().layer_norm_backward(r.x + at, dy + at, rows, width, r.gain, r.eps, dx + at, sums, sums + width);
  else
    active_table().rms_norm_backward(r.x + at, dy + at, rows, width, r.gain, r.eps, dx + at, sums);
}

Tensor norm(const char* op, const Tensor& x, const Tensor& gain, const Tensor& shift, float eps) {
  if (x.shape().rank() != 2) throw Error(fmt::format("{}: x is {}; expected [rows, width]", op, x.view().str()));
  const std::int64_t count = x.shape()[0], width = x.shape()[1];
  check_like(op, "gain", gain, x.dtype(), {width});
  if (!shift.empty()) check_like(op, "shift", shift, x.dtype(), {width});
  return by_precision(op, x, [&]<class T>(T) {
    const auto rows = [=] {
      return Rows<T>{x.data<T>(), width, gain.data<T>(), shift.empty() ? nullptr : shift.data<T>(), eps};
    };
    Tensor y = Tensor::unset(x.dtype(), x.shape());
    T* to = y.data<T>();
    for_rows(count, width, [&](std::int64_t first, std::int64_t last) { forward(rows(), first, last, to); });
    if (Tape* tape = Tape::current())
      tape->record(y, {x, gain, shift}, [=](Tape& t, const Tensor& dy) {
        Tensor dx = Tensor::unset(x.dtype(), x.shape()), sums(x.dtype(), {2, width});
        T* d = dx.data<T>();
        sum_rows(count, 2 * width, sums.data<T>(), [&](std::int64_t first, std::int64_t last, T* part) {
          backward(rows(), dy.data<T>(), first, last, d, part);
        });
        t.add(x, std::move(dx));
        for (const auto& [parameter, row] : {std::pair(gain, 0), std::pair(shift, 1)}) {
          if (!t.tracks(parameter)) continue;
          Tensor gradient(x.dtype(), {width});
          std::copy_n(sums.data<T>() + row * width, width, gradient.data<T>());
          t.add(parameter, std::move(gradient));
        }
      });
    return y;
  });
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& shift, float eps) {
  if (shift.empty())
    throw Error("layer_norm: there is no shift; expected one number for each of the row's, or rms_norm");
  return norm("layer_norm", x, gain, shift, eps);
}

Tensor rms_norm(const Tensor& x, const Tensor& gain, float eps) { return norm("rms_norm", x, gain, {}, eps); }

}  // namespace fovea
