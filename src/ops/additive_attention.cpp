#include "ops/additive_attention.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/registry.hpp"
#include "ops/cut.hpp"
#include "ops/row_softmax.hpp"
#include "ops/tape.hpp"

namespace fovea {
namespace {

struct Sizes {
  std::int64_t queries, keys, batch, width, value_dim;
  std::vector<int> lengths;  // [batch]

  int keys_of(std::int64_t b) const { return lengths[static_cast<std::size_t>(b)]; }
  std::int64_t query(std::int64_t i, std::int64_t b) const { return (i * batch + b) * width; }
  std::int64_t out(std::int64_t i, std::int64_t b) const { return (i * batch + b) * value_dim; }
  std::int64_t weights(std::int64_t i, std::int64_t b) const { return (b * queries + i) * keys; }
  std::int64_t key_stride() const { return batch * width; }
  std::int64_t value_stride() const { return batch * value_dim; }
};

// Signatures and formulas of the kernels (kernels/generic/additive.hpp), in both precisions.

void scores(const float* q, const float* keys, const Sizes& s, int n, const float* v, float* out) {
  active_table().additive_scores(q, keys, s.key_stride(), n, static_cast<int>(s.width), v, out);
}
void scores(const double* q, const double* keys, const Sizes& s, int n, const double* v, double* out) {
  for (int j = 0; j < n; ++j, keys += s.key_stride()) {
    out[j] = 0;
    for (std::int64_t i = 0; i < s.width; ++i) out[j] += v[i] * std::tanh(q[i] + keys[i]);
  }
}

void scores_backward(const float* q, const float* keys, const Sizes& s, int n, const float* v, const float* d,
                     float* dq, float* dkeys, float* dv) {
  active_table().additive_backward(q, keys, s.key_stride(), n, static_cast<int>(s.width), v, d, dq, dkeys, dv);
}
void scores_backward(const double* q, const double* keys, const Sizes& s, int n, const double* v, const double* d,
                     double* dq, double* dkeys, double* dv) {
  for (int j = 0; j < n; ++j, keys += s.key_stride(), dkeys += s.key_stride())
    for (std::int64_t i = 0; i < s.width; ++i) {
      const double t = std::tanh(q[i] + keys[i]), inner = d[j] * v[i] * (1 - t * t);
      dq[i] += inner, dkeys[i] += inner, dv[i] += d[j] * t;
    }
}

/// One query of one sequence: its weights [keys] and its row of out.
template <class T>
void forward(const Sizes& s, std::int64_t i, std::int64_t b, const T* q, const T* keys, const T* v, const T* values,
             std::span<const std::uint8_t> hidden, T* weights, T* out) {
  const int n = s.keys_of(b);
  T *row = weights + s.weights(i, b), *o = out + s.out(i, b);
  scores(q + s.query(i, b), keys + b * s.width, s, n, v, row);
  for (int j = 0; !hidden.empty() && j < n; ++j)
    if (hidden[static_cast<std::size_t>(s.weights(i, b) + j)]) row[j] = -std::numeric_limits<T>::infinity();
  row_softmax(row, 1, n, row, static_cast<T*>(nullptr));
  for (int j = 0; j < n; ++j)
    for (std::int64_t c = 0; c < s.value_dim; ++c) o[c] += row[j] * values[j * s.value_stride() + b * s.value_dim + c];
}

template <class T>
struct Back {
  const T *q, *keys, *v, *values, *weights, *dout;
  T *dq, *dkeys, *dv, *dvalues;  // dv [batch, width]: each sequence's own
};

/// One sequence, all its queries: nothing else writes where it writes.
template <class T>
void backward(const Sizes& s, std::int64_t b, const Back<T>& p) {
  const int n = s.keys_of(b);
  std::vector<T> d(static_cast<std::size_t>(n));  // of weights, then of scores
  for (std::int64_t i = 0; i < s.queries; ++i) {
    const T *row = p.weights + s.weights(i, b), *dout = p.dout + s.out(i, b);
    T mean = 0;
    for (int j = 0; j < n; ++j) {
      const std::int64_t at = j * s.value_stride() + b * s.value_dim;
      T sum = 0;
      for (std::int64_t c = 0; c < s.value_dim; ++c) {
        sum += dout[c] * p.values[at + c];
        p.dvalues[at + c] += row[j] * dout[c];
      }
      d[static_cast<std::size_t>(j)] = sum;
      mean += row[j] * sum;
    }
    for (int j = 0; j < n; ++j) d[static_cast<std::size_t>(j)] = row[j] * (d[static_cast<std::size_t>(j)] - mean);
    scores_backward(p.q + s.query(i, b), p.keys + b * s.width, s, n, p.v, d.data(), p.dq + s.query(i, b),
                    p.dkeys + b * s.width, p.dv + b * s.width);
  }
}

Sizes checked(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& values, std::span<const int> lengths) {
  constexpr const char* kOp = "attend_additive";
  for (const Tensor* t : {&q, &k, &values})
    if (t->shape().rank() != 3)
      throw Error(fmt::format("{}: a tensor is {}; expected [time, batch, width]", kOp, t->view().str()));
  const std::int64_t keys = k.shape()[0], batch = q.shape()[1], width = q.shape()[2], value_dim = values.shape()[2];
  check_like(kOp, "keys", k, q.dtype(), {keys, batch, width});
  check_like(kOp, "direction", v, q.dtype(), {width});
  check_like(kOp, "values", values, q.dtype(), {keys, batch, value_dim});
  Sizes s{q.shape()[0], keys, batch, width, value_dim, {lengths.begin(), lengths.end()}};
  if (lengths.empty()) s.lengths.assign(static_cast<std::size_t>(batch), static_cast<int>(keys));
  if (std::ssize(s.lengths) != batch)
    throw Error(fmt::format("{}: {} lengths for a batch of {}; expected one a sequence", kOp, lengths.size(), batch));
  for (std::size_t b = 0; b < s.lengths.size(); ++b)
    if (s.lengths[b] < 1 || s.lengths[b] > keys)
      throw Error(fmt::format("{}: sequence {} has {} keys; expected 1 to {}", kOp, b, s.lengths[b], keys));
  return s;
}

}  // namespace

AdditiveAttention attend_additive(const Tensor& queries, const Tensor& keys, const Tensor& direction,
                                  const Tensor& values, std::span<const int> lengths,
                                  std::span<const std::uint8_t> hidden) {
  const Sizes s = checked(queries, keys, direction, values, lengths);
  if (!hidden.empty() && std::ssize(hidden) != s.batch * s.queries * s.keys)
    throw Error(fmt::format("attend_additive: hidden has {} elements; expected {}, [batch, queries, keys]",
                            hidden.size(), s.batch * s.queries * s.keys));
  return by_precision("attend_additive", queries, [&]<class T>(T) {
    AdditiveAttention result{Tensor(queries.dtype(), {s.queries, s.batch, s.value_dim}),
                             Tensor(queries.dtype(), {s.batch, s.queries, s.keys})};
    T *out = result.out.template data<T>(), *weights = result.weights.template data<T>();
    for_rows(s.batch * s.queries, s.keys * s.width, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row)
        forward(s, row % s.queries, row / s.queries, queries.data<T>(), keys.data<T>(), direction.data<T>(),
                values.data<T>(), hidden, weights, out);
    });
    if (Tape* tape = Tape::current())
      tape->record(
          result.out, {queries, keys, direction, values}, [=, weights = result.weights](Tape& t, const Tensor& dout) {
            // A recurrence attends to the same keys and values at every step: what they receive is added in place.
            const auto sum_of = [&t](const Tensor& x) { return t.tracks(x) ? t.sum(x) : Tensor(x.dtype(), x.shape()); };
            Tensor dq(queries.dtype(), queries.shape()), dk = sum_of(keys), dv = sum_of(values),
                parts(keys.dtype(), {s.batch, s.width}), dd(direction.dtype(), direction.shape());
            const Back<T> back{
                queries.data<T>(), keys.data<T>(), direction.data<T>(), values.data<T>(), weights.template data<T>(),
                dout.data<T>(),    dq.data<T>(),   dk.data<T>(),        parts.data<T>(),  dv.data<T>()};
            parallel_for(s.batch, [&](std::int64_t b) { backward(s, b, back); });
            for (std::int64_t b = 0; b < s.batch; ++b)
              for (std::int64_t i = 0; i < s.width; ++i) dd.data<T>()[i] += parts.data<T>()[b * s.width + i];
            t.add(queries, std::move(dq));
            t.add(direction, std::move(dd));
          });
    return result;
  });
}

}  // namespace fovea
