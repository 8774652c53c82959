#include "support/bound.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/convert.hpp"
#include "kernels/registry.hpp"

namespace fovea::testing {
namespace {

double norm(const Operand& x, std::int64_t at, int n) {
  double sum = 0;
  for (int d = 0; d < n; ++d) {
    const double e = load_element(x.dtype, x.data, at + d * x.dim);
    sum += e * e;
  }
  return std::sqrt(sum);
}

std::vector<double> key_norms(const Problem& p, int b, int kv_head) {
  std::vector<double> norms;
  for (int j = 0; j < p.keys_of(b); ++j) norms.push_back(norm(p.k, p.k_offset(b, kv_head, j), p.head_dim));
  return norms;
}

}  // namespace

bool rounds_weights(std::string_view kernel) {
  const auto found = std::ranges::find(forward_kernels(), kernel, &ForwardKernel::name);
  return found != forward_kernels().end() && found->rounds_weights();
}
bool rounds_gradients(std::string_view kernel) {
  const auto found = std::ranges::find(forward_kernels(), kernel, &ForwardKernel::name);
  return found != forward_kernels().end() && found->rounds_gradients();
}

bool close(Approx a, Approx b) {
  if (std::isnan(a.value) || std::isnan(b.value)) return std::isnan(a.value) && std::isnan(b.value);
  return a.value == b.value || std::abs(a.value - b.value) <= a.tolerance + b.tolerance;
}

Truth::Truth(const Case& c) {
  const CaseProblem problem(c);
  const Problem& p = problem.p;
  b = b_of(p.keys);
  const auto rows = static_cast<std::size_t>(c.batches()) * static_cast<std::size_t>(c.queries()) *
                    static_cast<std::size_t>(c.heads());
  const std::size_t all = rows * static_cast<std::size_t>(c.value_dim());
  answer = {"reference",
            c.queries(),
            c.heads(),
            c.value_dim(),
            std::vector<double>(all),
            std::vector<double>(all),
            std::vector<double>(rows, -kInf),
            std::vector<double>(rows)};
  spread.resize(all), mass.resize(all), reach.resize(rows, 1);
  for (int b = 0; b < p.batches; ++b)
    for (int h = 0; h < p.heads; ++h) {
      const std::vector<double> norms = key_norms(p, b, h / p.group());
      for (int q = 0; q < p.queries_of(b); ++q) {
        const auto [at_b, at_t] = problem.place(b, q);
        set_row(p, b, h, q, norms, c.moves, answer.row(at_b, at_t, h));
      }
    }
}

void Truth::set_row(const Problem& p, int b, int h, int q, const std::vector<double>& norms, double moves,
                    std::size_t at) {
  const reference::ScoredRow r = reference::row(p, b, h, q);
  const std::vector<double> o = reference::output(p, b, h, r);
  double longest = 0;
  std::vector<double> weighted(o.size()), whole(o.size());
  for (std::size_t j = 0; j < r.score.size(); ++j) {
    if (r.score[j] == -kInf) continue;
    longest = std::max(longest, norms[j]);
    const std::int64_t v = p.v_offset(b, h / p.group(), static_cast<int>(j));
    for (std::size_t d = 0; d < o.size(); ++d) {
      const double size = std::abs(load_element(p.v.dtype, p.v.data, v + static_cast<std::int64_t>(d) * p.v.dim));
      weighted[d] += r.weight[j] * size, whole[d] += size;
    }
  }
  reach[at] = 1 + std::abs(p.scale) * norm(p.q, p.q_offset(b, h, q), p.head_dim) * longest + moves;
  answer.lse[at] = r.lse;
  answer.lse_tol[at] = 64 * 0x1p-53 * (reach[at] + std::abs(std::isfinite(r.lse) ? r.lse : 0));
  for (std::size_t d = 0; d < o.size(); ++d) {
    const std::size_t i = at * o.size() + d;
    answer.out[i] = o[d], spread[i] = weighted[d], mass[i] = whole[d];
    answer.out_tol[i] = 64 * 0x1p-53 * reach[at] * weighted[d];
  }
}

double Truth::out_bound(std::size_t i, DType out) const {
  const std::size_t row = i / static_cast<std::size_t>(answer.value_dim);
  return kA * unit_roundoff(out) * std::abs(answer.out[i]) + b * kEpsAcc * reach[row] * spread[i] + underflow(i, out);
}

double Truth::out_bound(std::size_t i, const Attention& a) const {
  return out_bound(i, a.out.dtype()) + (rounds_weights(a.kernel()) ? unit_roundoff(DType::BF16) * spread[i] : 0);
}

double Truth::lse_bound(std::size_t row) const {
  if (std::isinf(answer.lse[row])) return 0;
  return kA * kEpsAcc * std::abs(answer.lse[row]) + b * kEpsAcc * reach[row];
}

Answer answer_of(const Case& c, const Attention& a, const Truth& truth) {
  Answer x{std::string(a.kernel()), c.queries(), c.heads(), c.value_dim(), {}, {}, {}, {}};
  const DType dtype = a.out.dtype();
  const auto all = static_cast<std::size_t>(a.out.elements());
  x.out.resize(all), x.out_tol.resize(all), x.lse.resize(truth.answer.lse.size());
  for (std::size_t i = 0; i < all; ++i) {
    x.out[i] = load_element(dtype, a.out.raw(), static_cast<std::int64_t>(i));
    x.out_tol[i] = truth.out_bound(i, a);
  }
  for (std::size_t row = 0; row < x.lse.size(); ++row) x.lse_tol.push_back(truth.lse_bound(row));
  const float* lse = a.lse.data<float>();  // [batch, heads, time]
  for (std::int64_t b = 0; b < c.batches(); ++b)
    for (std::int64_t h = 0; h < c.heads(); ++h)
      for (std::int64_t t = 0; t < c.queries(); ++t)
        x.lse[x.row(b, t, h)] = static_cast<double>(lse[(b * c.heads() + h) * c.queries() + t]);
  return x;
}

::testing::AssertionResult within_bound(const Answer& got, const Truth& truth) {
  const Answer& want = truth.answer;
  if (got.out.size() != want.out.size() || got.lse.size() != want.lse.size())
    return ::testing::AssertionFailure() << got.engine << ": " << got.out.size() << " numbers for " << want.out.size();
  for (std::size_t i = 0; i < want.out.size(); ++i) {
    if (close({got.out[i], got.out_tol[i]}, {want.out[i], 0})) continue;
    const auto dim = static_cast<std::size_t>(want.value_dim), heads = static_cast<std::size_t>(want.heads),
               row = i / dim;
    const auto time = static_cast<std::size_t>(want.time);
    return ::testing::AssertionFailure() << fmt::format(
               "{}: out[batch {}, query {}, head {}, dim {}] = {:.9g}, expected {:.9g}; off by {:.3g}, allowed {:.3g}",
               got.engine, row / heads / time, row / heads % time, row % heads, i % dim, got.out[i], want.out[i],
               std::abs(got.out[i] - want.out[i]), got.out_tol[i]);
  }
  for (std::size_t row = 0; row < want.lse.size(); ++row)
    if (!close({got.lse[row], got.lse_tol[row]}, {want.lse[row], 0}))
      return ::testing::AssertionFailure()
             << fmt::format("{}: lse of row {} (batch, query, head) = {:.9g}, expected {:.9g}, allowed {:.3g}",
                            got.engine, row, got.lse[row], want.lse[row], got.lse_tol[row]);
  return ::testing::AssertionSuccess();
}

}  // namespace fovea::testing
