#include "ops/score_gradients.hpp"

#include <algorithm>
#include <map>

namespace fovea {
namespace {

constexpr std::int64_t kSmall = 4096;                        // elements
constexpr std::int64_t kMostExtra = std::int64_t{16} << 20;  // elements of all copies of large parameters

Shape shape_of(const ScoreParameter& p) { return {p.shape[0], p.shape[1], p.shape[2], p.shape[3]}; }

/// Items of one class share numbers of some large parameter; [batch, kv_head, split] in this order make up an item.
std::int64_t class_of(std::int64_t item, const std::vector<ScoreParameter>& large, const Problem& p, int splits) {
  const auto all_vary = [&](int dim) {
    return std::ranges::all_of(large, [dim](const ScoreParameter& s) { return s.varies(dim); });
  };
  // A split is a run of the rows head_in_group · queries + query, so heads of a group must differ too.
  const bool by_batch = all_vary(0), by_head = all_vary(1), by_split = all_vary(2) && (by_head || p.group() == 1);
  const std::int64_t split = item % splits, kv_head = item / splits % p.kv_heads, batch = item / splits / p.kv_heads;
  return ((by_batch ? batch : 0) * p.kv_heads + (by_head ? kv_head : 0)) * splits + (by_split ? split : 0);
}

}  // namespace

ScoreSums::ScoreSums(const std::vector<ScoreParameter>& parameters, const Problem& p, const GradientPlan& plan) {
  std::vector<ScoreParameter> large;
  std::int64_t elements = 0;
  for (const ScoreParameter& s : parameters)
    if (s.elements() > kSmall) large.push_back(s), elements += s.elements();
  std::map<std::int64_t, std::vector<std::int64_t>> classes;  // of items, ascending
  for (std::int64_t item = 0; item < plan.items; ++item)
    classes[large.empty() ? item : class_of(item, large, p, plan.splits)].push_back(item);
  std::size_t copies = 1, longest = 1;
  for (const auto& [name, items] : classes) longest = std::max(longest, items.size());
  if (elements > 0)
    copies = static_cast<std::size_t>(
        std::clamp<std::int64_t>(kMostExtra / elements, 1, static_cast<std::int64_t>(longest)));
  for (const ScoreParameter& s : parameters) {
    sums_.push_back({s, s.elements() > kSmall, {}});
    const auto count = sums_.back().large ? static_cast<std::int64_t>(copies) : std::max<std::int64_t>(plan.items, 1);
    for (std::int64_t i = 0; i < count; ++i) sums_.back().copies.emplace_back(DType::F32, shape_of(s));
  }
  pointers_.resize(static_cast<std::size_t>(plan.items) * parameters.size());
  for (const auto& [name, items] : classes) {
    const std::size_t first = lanes_.size();
    lanes_.resize(first + std::min(copies, items.size()));
    for (std::size_t i = 0; i < items.size(); ++i) {
      lanes_[first + i % copies].push_back(items[i]);
      const auto item = static_cast<std::size_t>(items[i]);
      for (std::size_t s = 0; s < sums_.size(); ++s)
        pointers_[item * sums_.size() + s] = sums_[s].copies[sums_[s].large ? i % copies : item].data<float>();
    }
  }
}

float* const* ScoreSums::of(std::int64_t item) const {
  return pointers_.data() + static_cast<std::size_t>(item) * sums_.size();
}

std::vector<ScoreGradient> ScoreSums::add_up() const {
  std::vector<ScoreGradient> all;
  for (const Sums& s : sums_) {
    const Tensor& first = s.copies.front();
    Tensor total = s.copies.size() == 1 ? first : Tensor(DType::F32, first.shape());
    if (s.copies.size() > 1)
      for (std::int64_t i = 0; i < total.elements(); ++i) {
        double sum = 0;
        for (const Tensor& part : s.copies) sum += static_cast<double>(part.data<float>()[i]);
        total.data<float>()[i] = static_cast<float>(sum);
      }
    all.push_back({s.parameter.name, std::move(total)});
  }
  return all;
}

}  // namespace fovea
