// Joining what attention over disjoint keys gave: one pass over the parts, a row at a time.
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include <fovea/merge.hpp>

#include "core/convert.hpp"
#include "ops/cut.hpp"

namespace fovea {
namespace {

constexpr double kLseOfNothing = -std::numeric_limits<double>::infinity();

/// Sizes that all parts have.
struct PartialRows {
  std::int64_t batch, time, heads, dim;
  std::int64_t count() const { return batch * time * heads; }
  /// Of row i of out, [batch, time, heads], in lse, [batch, heads, time].
  std::int64_t lse_of(std::int64_t i) const {
    const std::int64_t head = i % heads, t = i / heads % time, b = i / heads / time;
    return (b * heads + head) * time + t;
  }
};

PartialRows check_parts(std::span<const Partial> parts) {
  if (parts.empty()) throw Error("merge: no parts; expected at least one");
  const Partial& first = parts.front();
  const Shape& s = first.out.shape();
  if (s.rank() != 4 || !is_float(first.out.dtype()))
    throw Error(fmt::format("merge: out of part 0 is {}; expected floats [batch, time, heads, value_dim]",
                            first.out.view().str()));
  const Shape lse{s[0], s[2], s[1]};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Partial& p = parts[i];
    if (p.out.dtype() != first.out.dtype() || !(p.out.shape() == s))
      throw Error(fmt::format("merge: out of part {} is {} and of part 0 {}; expected alike (Tensor::to converts)", i,
                              p.out.view().str(), first.out.view().str()));
    if (p.lse.dtype() != DType::F32 || !(p.lse.shape() == lse))
      throw Error(fmt::format("merge: lse of part {} is {}; expected F32 [batch, heads, time] = {}", i,
                              p.lse.view().str(), lse.str()));
  }
  return {s[0], s[1], s[2], s[3]};
}

/// The parts' shares of row i, which add up to 1, and the row's LSE. One part that has all of it has exactly 1.
double set_shares(std::span<const Partial> parts, std::int64_t at, std::span<double> shares) {
  const auto lse = [&](std::size_t p) { return static_cast<double>(parts[p].lse.data<float>()[at]); };
  double most = kLseOfNothing, sum = 0;
  for (std::size_t p = 0; p < parts.size(); ++p)
    if (!(lse(p) <= most)) most = lse(p);  // a NaN is taken, and stays
  for (std::size_t p = 0; p < parts.size(); ++p)
    sum += shares[p] = lse(p) == kLseOfNothing ? 0 : std::exp(lse(p) - most);
  for (double& x : shares) x = sum > 0 || sum != sum ? x / sum : 0;
  return sum == 0 ? kLseOfNothing : most + std::log(sum);
}

}  // namespace

Partial merge(std::span<const Partial> parts, std::optional<DType> output) {
  const PartialRows rows = check_parts(parts);
  const DType from = parts.front().out.dtype(), to = output.value_or(from);
  if (!is_float(to)) throw Error(fmt::format("merge: output dtype is {}; expected F64, F32, BF16 or F16", name_of(to)));
  Partial all{Tensor(to, parts.front().out.shape()), Tensor(DType::F32, parts.front().lse.shape())};
  for_rows(rows.count(), rows.dim * std::ssize(parts), [&](std::int64_t first, std::int64_t last) {
    std::vector<double> shares(parts.size()), sum(static_cast<std::size_t>(rows.dim));
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t at = rows.lse_of(i);
      all.lse.data<float>()[at] = static_cast<float>(set_shares(parts, at, shares));
      std::ranges::fill(sum, 0.0);
      bool first_part = true;  // it is not added to 0, which would turn −0 into 0
      for (std::size_t p = 0; p < parts.size(); ++p) {
        if (parts[p].lse.data<float>()[at] == -std::numeric_limits<float>::infinity()) continue;
        by_float(from, [&]<class T>(const T*) {
          const T* row = static_cast<const T*>(parts[p].out.raw()) + i * rows.dim;
          for (std::size_t d = 0; d < sum.size(); ++d) {
            const double x = shares[p] * static_cast<double>(row[d]);
            sum[d] = first_part ? x : sum[d] + x;
          }
        });
        first_part = false;
      }
      for (std::int64_t d = 0; d < rows.dim; ++d)
        store_element(to, all.out.raw(), i * rows.dim + d, sum[static_cast<std::size_t>(d)]);
    }
  });
  return all;
}

Partial merge(const Partial& a, const Partial& b) {
  const Partial parts[] = {a, b};
  return merge(parts);
}

}  // namespace fovea
