// Gradients of attention: the kernels' backward pass, and what is summed up after it.
#include <cmath>

#include <fmt/format.h>

#include <fovea/attention.hpp>
#include <fovea/threads.hpp>

#include "core/convert.hpp"
#include "core/scratch.hpp"
#include "kernels/reference/reference.hpp"
#include "kernels/registry.hpp"
#include "ops/attention_problem.hpp"
#include "ops/score_gradients.hpp"

namespace fovea {
namespace {

constexpr std::int64_t kRowsAtOnce = 256;  // of dk and dv, by one thread

/// Rows along time of a tensor [batch, time, heads, dim] whose batch rows may be packed: then the batch stride is 0.
Operand operand(const TensorView& t, bool packed) {
  const Shape& s = t.strides;
  return {const_cast<void*>(t.data), t.dtype, packed ? 0 : s[0], s[1], s[2], s[3]};
}

/// dk and dv from the sums of all splits, in their order.
void add_up(const GradientProblem& g, const GradientPlan& plan, const Problem& p, Tensor& dk, Tensor& dv) {
  const std::int64_t width = plan.padded_head_dim + plan.padded_value_dim,
                     chunks = (g.key_rows + kRowsAtOnce - 1) / kRowsAtOnce;
  parallel_for(chunks * p.kv_heads, [&](std::int64_t item) {
    const std::int64_t head = item / chunks, first = item % chunks * kRowsAtOnce;
    std::vector<float> all(static_cast<std::size_t>(width));  // dk, dv of a key
    float* const sum = all.data();
    for (std::int64_t row = first; row < std::min(first + kRowsAtOnce, g.key_rows); ++row) {
      for (int split = 0; split < plan.splits; ++split) {
        const float* part = g.sums + ((split * std::int64_t{p.kv_heads} + head) * g.key_rows + row) * width;
        for (std::int64_t i = 0; i < width; ++i) sum[i] = split == 0 ? part[i] : sum[i] + part[i];
      }
      const auto put = [&](Tensor& to, int from, int dims) {
        by_float(to.dtype(), [&]<class T>(const T*) {
          T* const at = static_cast<T*>(to.raw()) + (row * p.kv_heads + head) * dims;
          for (int d = 0; d < dims; ++d) at[d] = static_cast<T>(sum[from + d]);
        });
      };
      put(dk, 0, p.head_dim), put(dv, plan.padded_head_dim, p.value_dim);
    }
  });
}

/// dsink of a head = −Σ over its rows of the weight that the sink took, times delta.
Tensor sink_gradients(const Problem& p, const float* delta) {
  Tensor dsinks(DType::F32, {p.heads});
  for (int h = 0; h < p.heads; ++h) {
    double sum = 0;
    for (int b = 0; b < p.batches; ++b)
      for (int t = 0; t < p.queries_of(b); ++t) {
        const std::int64_t at = p.lse_offset(b, h, t);
        if (std::isinf(p.sinks[h]) && p.sinks[h] < 0) continue;  // nor can the row's LSE be −∞ then
        sum -=
            std::exp(static_cast<double>(p.sinks[h]) - static_cast<double>(p.lse[at])) * static_cast<double>(delta[at]);
      }
    dsinks.data<float>()[h] = static_cast<float>(sum);
  }
  return dsinks;
}

/// The reference's gradients [batches, longest, heads, dim] into a tensor's rows. lengths, begin: as in Problem.
void scatter(const std::vector<double>& from, const Problem& p, int longest, const int* lengths, const int* begin,
             Tensor& to) {
  const std::int64_t width = to.shape()[2] * to.shape()[3];
  for (int b = 0; b < p.batches; ++b)
    for (int t = 0; t < (lengths ? lengths[b] : longest); ++t) {
      const std::int64_t row = begin ? begin[b] + t : std::int64_t{b} * longest + t;
      const auto at = static_cast<std::size_t>((std::int64_t{b} * longest + t) * width);
      for (std::int64_t i = 0; i < width; ++i)
        store_element(to.dtype(), to.raw(), row * width + i, from[at + static_cast<std::size_t>(i)]);
    }
}

/// What the reference's pass adds to the numbers inside a score.
class ReferenceShares {
 public:
  explicit ReferenceShares(const std::vector<ScoreParameter>& parameters) : parameters_(parameters) {
    for (const ScoreParameter& s : parameters) sums_.emplace_back(static_cast<std::size_t>(s.elements()));
  }
  void take(const Problem& p, const Site& site, double logit, double dscore) {
    p.score.collect_site(p.score.self, logit, dscore, site, 0, this,
                         [](void* self, int which, std::ptrdiff_t at, double share) {
                           auto& sums = static_cast<ReferenceShares*>(self)->sums_;
                           sums[static_cast<std::size_t>(which)][static_cast<std::size_t>(at)] += share;
                         });
  }
  std::vector<ScoreGradient> result() const {
    std::vector<ScoreGradient> all;
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      const auto& shape = parameters_[i].shape;
      Tensor value(DType::F32, {shape[0], shape[1], shape[2], shape[3]});
      std::ranges::transform(sums_[i], value.data<float>(), [](double x) { return static_cast<float>(x); });
      all.push_back({parameters_[i].name, std::move(value)});
    }
    return all;
  }

 private:
  std::vector<ScoreParameter> parameters_;
  std::vector<std::vector<double>> sums_;
};

void reference_backward(const Problem& p, const Operand& dout, const std::vector<ScoreParameter>& parameters,
                        Gradients& g) {
  ReferenceShares shares(parameters);
  std::function<void(const Site&, double, double)> on_score;
  if (!parameters.empty())
    on_score = [&](const Site& at, double logit, double dscore) { shares.take(p, at, logit, dscore); };
  const reference::Gradients r = reference::backward(p, dout, on_score);
  g.score = shares.result();
  scatter(r.dq, p, p.queries, p.q_lengths, p.q_begin, g.dq);
  scatter(r.dk, p, p.keys, p.kv_lengths, p.kv_begin, g.dk);
  scatter(r.dv, p, p.keys, p.kv_lengths, p.kv_begin, g.dv);
  if (!p.sinks) return;
  g.dsinks = Tensor(DType::F32, {p.heads});
  for (int h = 0; h < p.heads; ++h)
    g.dsinks.data<float>()[h] = static_cast<float>(r.dsink[static_cast<std::size_t>(h)]);
}

}  // namespace

Gradients backward(const Attention& a, const TensorView& dout, Wanted wanted) {
  if (!(dout.shape == a.out.shape()) || !is_float(dout.dtype))
    throw Error(fmt::format("dout is {}; expected the shape of out, {}, in a float dtype", dout.str(),
                            a.out.view().shape.str()));
  if (a.k_.is_paged || a.v_.is_paged)
    throw Error("backward: k or v is a cache in pages, which has no gradients; attend to tensors [batch, keys, …]");
  PreparedProblem prepared(a.q_, a.k_, a.v_, a.spec_);
  prepared.set_results(a.out, a.lse);
  const Problem& p = prepared.problem;
  const TensorView &k = a.k_.pool, &v = a.v_.pool;
  std::vector<ScoreParameter> parameters;
  if (wanted == Wanted::InputsAndScore) parameters = a.spec_.score.parameters();
  const Operand dout_rows = operand(dout, p.q_begin != nullptr);
  const ForwardKernel& kernel = choose_kernel(p, a.kernel_);
  if (!kernel.table) {
    Gradients result{Tensor(a.q_.dtype, a.q_.shape), Tensor(k.dtype, k.shape), Tensor(v.dtype, v.shape), {}, {}};
    reference_backward(p, dout_rows, parameters, result);
    return result;
  }
  if (dout.dtype == DType::F64)
    throw Error(
        fmt::format("dout is {} and kernel {} computes in f32; convert dout with Tensor::to", dout.str(), kernel.name));
  Gradients result{to_be_filled(a.q_.dtype, a.q_.shape, p.q_lengths),
                   to_be_filled(k.dtype, k.shape, p.kv_lengths),
                   to_be_filled(v.dtype, v.shape, p.kv_lengths),
                   {},
                   {}};
  const GradientPlan plan = kernel.table->plan_backward(p);
  const bool packed = p.q_begin != nullptr;
  Tensor delta(DType::F32, a.lse.shape());
  GradientProblem g{dout_rows,
                    operand(result.dq.view(), packed),
                    operand(result.dk.view(), packed),
                    operand(result.dv.view(), packed),
                    delta.data<float>(),
                    nullptr,
                    k.shape[0] * k.shape[1]};
  const bool shared = plan.sum_rows == 0;  // else the kernel leaves dk and dv
  Tensor sums(DType::F32,
              {shared ? plan.splits * g.key_rows : 0, p.kv_heads, plan.padded_head_dim + plan.padded_value_dim});
  g.sums = sums.data<float>();
  if (parameters.empty()) {
    parallel_for(plan.items, [&](std::int64_t item) {
      kernel.table->backward(p, g, plan, item, thread_scratch(plan.scratch_bytes));
    });
  } else {
    const ScoreSums score(parameters, p, plan);
    parallel_for(std::ssize(score.lanes()), [&](std::int64_t lane) {
      for (const std::int64_t item : score.lanes()[static_cast<std::size_t>(lane)]) {
        GradientProblem own = g;
        own.parameters = score.of(item);
        kernel.table->backward(p, own, plan, item, thread_scratch(plan.scratch_bytes));
      }
    });
    result.score = score.add_up();
  }
  if (shared) add_up(g, plan, p, result.dk, result.dv);
  if (p.sinks) result.dsinks = sink_gradients(p, g.delta);
  return result;
}

}  // namespace fovea
