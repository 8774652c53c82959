// Gradients of fovea attend: the reference's, and what a bias and its order add.
#include <array>

#include "attend.hpp"
#include "core/convert.hpp"
#include "kernels/reference/reference.hpp"
#include "ops/attention_problem.hpp"

namespace fovea::cli {
namespace {

Tensor rounded(const std::vector<double>& values, DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  for (std::size_t i = 0; i < values.size(); ++i)
    store_element(dtype, t.raw(), static_cast<std::int64_t>(i), values[i]);
  return t;
}

double logit(const Problem& p, const Site& at) {
  const std::int64_t q = p.q_offset(at.batch, at.head, at.query), k = p.k_offset(at.batch, at.head / p.group(), at.key);
  double sum = 0;
  for (int d = 0; d < p.head_dim; ++d)
    sum += load_element(p.q.dtype, p.q.data, q + d * p.q.dim) * load_element(p.k.dtype, p.k.data, k + d * p.k.dim);
  return p.scale * sum;
}

/// Sums ∂/∂bias over the dimensions that broadcast. What follows the bias (a soft-cap) passes its slope on.
class BiasGradient {
 public:
  BiasGradient(const AttentionInput& in, const Problem& problem)
      : in_(in),
        problem_(problem),
        steps_(bias(*in.bias).site),
        sums_(static_cast<std::size_t>(in.bias->elements())),
        direct_(in.scores.after_bias.view().self == nullptr) {}
  void take(const Site& at, double dscore) {
    double slope = 1;
    if (!direct_)
      slope = in_.scores.after_bias(Dual<double>{in_.scores.until_bias(logit(problem_, at), at), 1.0}, at).slope;
    const std::ptrdiff_t index = at.batch * steps_.strides[0] + at.head * steps_.strides[1] +
                                 at.query * steps_.strides[2] + at.key * steps_.strides[3];
    sums_[static_cast<std::size_t>(index)] += dscore * slope;
  }
  Tensor result() const { return rounded(sums_, DType::F32, in_.bias->shape()); }

 private:
  const AttentionInput& in_;
  const Problem& problem_;
  PerSite<float> steps_;  // the bias's own strides, 0 where it broadcasts
  std::vector<double> sums_;
  bool direct_;
};

}  // namespace

InputGradients input_gradients(const AttentionInput& in) {
  const PreparedProblem prepared(in.q, in.k, in.v, in.spec);
  const Shape strides = in.dout->view().strides;
  const Operand dout{
      const_cast<void*>(in.dout->raw()), in.dout->dtype(), strides[0], strides[1], strides[2], strides[3]};
  std::optional<BiasGradient> for_bias;
  std::function<void(const Site&, double)> on_score;
  if (in.bias) {
    for_bias.emplace(in, prepared.problem);
    on_score = [&for_bias](const Site& at, double dscore) { for_bias->take(at, dscore); };
  }
  const reference::Gradients g = reference::backward(prepared.problem, dout, on_score);
  InputGradients out{rounded(g.dq, in.q.dtype(), in.q.shape()),
                     rounded(g.dk, in.q.dtype(), in.k.shape()),
                     rounded(g.dv, in.q.dtype(), in.v.shape()),
                     {},
                     {}};
  if (for_bias) out.dbias = for_bias->result();
  if (in.sink) out.dsink = rounded(g.dsink, DType::F32, in.sink->shape());
  return out;
}

}  // namespace fovea::cli
