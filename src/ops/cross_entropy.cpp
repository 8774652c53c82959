#include "ops/cross_entropy.hpp"

#include <numeric>
#include <vector>

#include "ops/cut.hpp"
#include "ops/row_softmax.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

std::int64_t check(const Tensor& logits, std::span<const int> targets, const CrossEntropy& how) {
  if (logits.shape().rank() != 2 || logits.shape()[0] != std::ssize(targets))
    throw Error(fmt::format("cross_entropy: logits are {} for {} targets; expected [{}, classes]", logits.view().str(),
                            targets.size(), targets.size()));
  if (!(how.smoothing >= 0 && how.smoothing <= 1))
    throw Error(fmt::format("cross_entropy: smoothing is {}; expected 0 to 1", how.smoothing));
  const std::int64_t classes = logits.shape()[1];
  std::int64_t counted = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] == how.ignore) continue;
    if (targets[i] < 0 || targets[i] >= classes)
      throw Error(fmt::format("cross_entropy: target {} is {}; expected 0 to {}, or {} to leave the row out", i,
                              targets[i], classes - 1, how.ignore));
    ++counted;
  }
  if (counted == 0) throw Error("cross_entropy: every target is to be ignored; expected at least one that counts");
  return counted;
}

double sum(const float* x, std::int64_t n) { return active_table().sum(x, n); }
double sum(const double* x, std::int64_t n) { return std::accumulate(x, x + n, 0.0); }

/// The loss of one row, in double: lse and the logits are known to the precision of their type.
template <class T>
double row_loss(const T* x, std::int64_t classes, int target, double lse, double smoothing) {
  const double right = lse - static_cast<double>(x[target]);
  if (smoothing == 0) return right;
  return (1 - smoothing) * right + smoothing * (lse - sum(x, classes) / static_cast<double>(classes));
}

/// d = (p − (1 − ε)·[target] − ε / classes) · factor; zeros where the row doesn't count.
template <class T>
Tensor gradient(const Tensor& logits, const std::vector<T>& lse, const std::vector<int>& targets,
                const CrossEntropy& how, double factor) {
  const std::int64_t classes = logits.shape()[1];
  const double smoothing = static_cast<double>(how.smoothing);
  Tensor d = Tensor::unset(logits.dtype(), logits.shape());
  T* to = d.data<T>();
  const T *from = logits.data<T>(), f = static_cast<T>(factor),
          even = static_cast<T>(smoothing / static_cast<double>(classes) * factor);
  for_rows(std::ssize(targets), classes, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      const auto i = static_cast<std::size_t>(r);
      const int target = targets[i];
      T* row = to + r * classes;
      if (target == how.ignore) {
        std::fill_n(row, classes, T(0));
        continue;
      }
      row_slope(from + r * classes, classes, lse[i], f, even, row);
      row[target] -= static_cast<T>((1 - smoothing) * factor);
    }
  });
  return d;
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, std::span<const int> targets, CrossEntropy how) {
  const std::int64_t counted = check(logits, targets, how), classes = logits.shape()[1];
  return by_precision("cross_entropy", logits, [&]<class T>(T) {
    std::vector<double> losses(targets.size());
    std::vector<T> lse(targets.size());
    const T* x = logits.data<T>();
    for_rows(std::ssize(targets), classes, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t r = first; r < last; ++r) {
        const auto i = static_cast<std::size_t>(r);
        if (targets[i] == how.ignore) continue;
        row_softmax(x + r * classes, 1, classes, static_cast<T*>(nullptr), &lse[i]);
        losses[i] = row_loss(x + r * classes, classes, targets[i], static_cast<double>(lse[i]),
                             static_cast<double>(how.smoothing));
      }
    });
    Tensor loss(logits.dtype(), {1});
    *loss.data<T>() = static_cast<T>(std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(counted));
    if (Tape* tape = Tape::current())
      tape->record(loss, {logits},
                   [logits, how, counted, lse = std::move(lse), kept = std::vector(targets.begin(), targets.end())](
                       Tape& t, const Tensor& dloss) {
                     const double factor = static_cast<double>(*dloss.data<T>()) / static_cast<double>(counted);
                     t.add(logits, gradient<T>(logits, lse, kept, how, factor));
                   });
    return loss;
  });
}

}  // namespace fovea
