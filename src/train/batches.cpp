#include "train/batches.hpp"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include <fovea/error.hpp>

#include "demo/draw.hpp"

namespace fovea::train {
namespace {

// Sorted by length within so many pairs: long enough for batches of one length, short enough to keep the order random.
constexpr std::size_t kPool = 6000;

template <class T>
void shuffle(std::vector<T>& list, demo::Draw& draw) {  // Fisher & Yates
  for (std::size_t i = list.size(); i > 1; --i)
    std::swap(list[i - 1], list[static_cast<std::size_t>(draw.below(static_cast<int>(i)))]);
}

}  // namespace

Batches::Batches(std::span<const Pair> pairs, std::int64_t tokens, std::uint64_t seed)
    : pairs_(pairs), tokens_(tokens), seed_(seed) {
  if (pairs.empty()) throw Error("there is nothing to learn from: the data holds no pairs");
}

void Batches::cut(std::int64_t pass) {
  demo::Draw draw(seed_, 0x6261746368, static_cast<std::uint64_t>(pass));
  std::vector<int> order(pairs_.size());
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, draw);
  const auto sizes = [this](int i) {
    const Pair& p = pairs_[static_cast<std::size_t>(i)];
    return std::tuple(p.source.size(), p.target.size(), i);
  };
  batches_.clear();
  for (std::size_t first = 0; first < order.size(); first += kPool) {
    const auto begin = order.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(first + kPool, order.size()));
    std::sort(begin, end, [&](int a, int b) { return sizes(a) < sizes(b); });
    std::vector<std::vector<int>> pool(1);
    std::int64_t used = 0;
    for (auto at = begin; at != end; ++at) {
      const auto& [source, target, index] = sizes(*at);
      const auto more = static_cast<std::int64_t>(source + target);
      if (used + more > tokens_ && !pool.back().empty()) pool.emplace_back(), used = 0;
      pool.back().push_back(index);
      used += more;
    }
    shuffle(pool, draw);
    std::ranges::move(pool, std::back_inserter(batches_));
  }
  pass_ = pass;
}

std::vector<int> Batches::operator()(std::int64_t n) {
  for (std::int64_t pass = 0;; ++pass) {
    const bool known = pass < std::ssize(ends_);
    if (!known) {
      cut(pass);
      ends_.push_back((ends_.empty() ? 0 : ends_.back()) + std::ssize(batches_));
    }
    const std::int64_t end = ends_[static_cast<std::size_t>(pass)];
    if (n >= end) continue;
    if (pass_ != pass) cut(pass);
    return batches_[static_cast<std::size_t>(n - (end - std::ssize(batches_)))];
  }
}

}  // namespace fovea::train
