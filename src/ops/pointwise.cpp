#include "ops/pointwise.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "kernels/registry.hpp"
#include "ops/cut.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

// The activations in double; in f32 they are kernels (kernels/generic/activation.hpp).

constexpr double kRootTwoOverPi = 0.79788456080286536, kInverseRootTwoPi = 0.39894228040143268;

double normal_cdf(double x) { return 0.5 * std::erfc(-x * std::sqrt(0.5)); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double value(Activation a, double x) {
  switch (a) {
    case Activation::Identity:
      return x;
    case Activation::Relu:
      return x > 0 ? x : 0;
    case Activation::Gelu:
      return x * normal_cdf(x);
    case Activation::GeluTanh:
      return 0.5 * x * (1 + std::tanh(kRootTwoOverPi * (x + 0.044715 * x * x * x)));
    case Activation::GeluQuick:
      return x * sigmoid(1.702 * x);
    case Activation::Silu:
      return x * sigmoid(x);
    case Activation::Tanh:
      return std::tanh(x);
    case Activation::Sigmoid:
      return sigmoid(x);
  }
  return x;
}

double slope(Activation a, double x) {
  switch (a) {
    case Activation::Identity:
      return 1;
    case Activation::Relu:
      return x > 0 ? 1 : 0;
    case Activation::Gelu:
      return normal_cdf(x) + x * kInverseRootTwoPi * std::exp(-0.5 * x * x);
    case Activation::GeluTanh: {
      const double t = std::tanh(kRootTwoOverPi * (x + 0.044715 * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kRootTwoOverPi * (1 + 3 * 0.044715 * x * x);
    }
    case Activation::GeluQuick: {
      const double s = sigmoid(1.702 * x);
      return s + 1.702 * x * s * (1 - s);
    }
    case Activation::Silu: {
      const double s = sigmoid(x);
      return s + x * s * (1 - s);
    }
    case Activation::Tanh: {
      const double t = std::tanh(x);
      return 1 - t * t;
    }
    case Activation::Sigmoid: {
      const double s = sigmoid(x);
      return s * (1 - s);
    }
  }
  return 1;
}

// y [n] = a(x), y may be x; dx [n] = dy · a'(x).
void apply(Activation a, const float* x, std::int64_t n, float* y) {
  active_table().activate(static_cast<int>(a), x, n, y);
}
void apply(Activation a, const double* x, std::int64_t n, double* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = value(a, x[i]);
}
void apply_slope(Activation a, const float* x, const float* dy, std::int64_t n, float* dx) {
  active_table().activate_backward(static_cast<int>(a), x, dy, n, dx);
}
void apply_slope(Activation a, const double* x, const double* dy, std::int64_t n, double* dx) {
  for (std::int64_t i = 0; i < n; ++i) dx[i] = dy[i] * slope(a, x[i]);
}

/// Runs of x through f(from, to, first, n): in place (to is from) when x is handed over and no tape stands, else into a
/// new tensor.
template <class T, class F>
Tensor mapped(Tensor x, F f) {
  Tensor y = !Tape::current() && x.unique() ? x : Tensor::unset(x.dtype(), x.shape());
  const T* from = x.data<T>();
  T* to = y.data<T>();
  for_runs(y.elements(), kElementsAtOnce,
           [&](std::int64_t first, std::int64_t last) { f(from + first, to + first, first, last - first); });
  return y;
}

void check_same(const char* op, const Tensor& x, const Tensor& y) {
  if (!(x.shape() == y.shape()) || x.dtype() != y.dtype())
    throw Error(fmt::format("{}: {} and {}; expected one dtype and shape", op, x.view().str(), y.view().str()));
}

template <class F>
Tensor combined(const char* op, Tensor x, const Tensor& y, F f) {
  check_same(op, x, y);
  return by_precision(op, x, [&]<class T>(T) {
    const T* other = y.data<T>();
    return mapped<T>(std::move(x), [&](const T* from, T* to, std::int64_t first, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) to[i] = f(from[i], other[first + i]);
    });
  });
}

constexpr auto kSum = [](auto a, auto b) { return a + b; };
constexpr auto kProduct = [](auto a, auto b) { return a * b; };

/// z = f(x, y), recorded: back(tape, x, y, dz) adds to the gradients of x and y.
template <class F, class Back>
Tensor recorded(const char* op, Tensor x, const Tensor& y, F f, Back back) {
  Tape* tape = Tape::current();
  const Tensor left = tape ? x : Tensor();
  Tensor z = combined(op, std::move(x), y, f);
  if (tape) tape->record(z, {left, y}, [left, y, back](Tape& t, const Tensor& dz) { back(t, left, y, dz); });
  return z;
}

}  // namespace

Activation activation_of(std::string_view name) {
  struct Named {
    std::string_view name;
    Activation activation;
  };
  static constexpr Named kNames[] = {
      {"relu", Activation::Relu},          {"gelu", Activation::Gelu},
      {"gelu_new", Activation::GeluTanh},  {"gelu_pytorch_tanh", Activation::GeluTanh},
      {"gelu_fast", Activation::GeluTanh}, {"quick_gelu", Activation::GeluQuick},
      {"silu", Activation::Silu},          {"swish", Activation::Silu},
      {"tanh", Activation::Tanh},          {"sigmoid", Activation::Sigmoid},
      {"linear", Activation::Identity},
  };
  std::string known;
  for (const Named& n : kNames) {
    if (n.name == name) return n.activation;
    known += (known.empty() ? "" : ", ") + std::string(n.name);
  }
  throw Error(fmt::format("activation '{}' is not supported; known are {}", name, known));
}

Tensor activate(Tensor x, Activation a) {
  if (a == Activation::Identity) return x;
  return by_precision("activate", x, [&]<class T>(T) {
    Tape* tape = Tape::current();
    const Tensor input = tape ? x : Tensor();
    Tensor y =
        mapped<T>(std::move(x), [&](const T* from, T* to, std::int64_t, std::int64_t n) { apply(a, from, n, to); });
    if (tape)
      tape->record(y, {input}, [a, input](Tape& t, const Tensor& dy) {
        const T* in = input.data<T>();
        t.add(input, mapped<T>(dy, [&](const T* from, T* to, std::int64_t first, std::int64_t n) {
                apply_slope(a, in + first, from, n, to);
              }));
      });
    return y;
  });
}

Tensor add(Tensor x, const Tensor& y) {
  return recorded("add", std::move(x), y, kSum, [](Tape& t, const Tensor& left, const Tensor& right, const Tensor& dz) {
    t.add(left, dz);
    t.add(right, dz);
  });
}

Tensor multiply(Tensor x, const Tensor& y) {
  return recorded("multiply", std::move(x), y, kProduct,
                  [](Tape& t, const Tensor& left, const Tensor& right, const Tensor& dz) {
                    if (t.tracks(left)) t.add(left, combined("multiply", dz, right, kProduct));
                    if (t.tracks(right)) t.add(right, combined("multiply", dz, left, kProduct));
                  });
}

Tensor scale(Tensor x, double factor) {
  return by_precision("scale", x, [&]<class T>(T) {
    Tape* tape = Tape::current();
    const Tensor input = tape ? x : Tensor();
    Tensor y = mapped<T>(std::move(x), [&](const T* from, T* to, std::int64_t, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) to[i] = from[i] * static_cast<T>(factor);
    });
    if (tape) tape->record(y, {input}, [=](Tape& t, const Tensor& dy) { t.add(input, scale(dy, factor)); });
    return y;
  });
}

}  // namespace fovea
