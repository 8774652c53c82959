// Which pairs a step learns from: of similar length, about as many tokens each time, in an order that the seed decides.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace fovea::train {

/// A text and what it becomes, as token ids; both end with the end token.
struct Pair {
  std::vector<int> source, target;
};

/// The batches of one pass over the data after another. A batch depends on (seed, its place) alone, so that training
/// goes on from any step as if it had never stopped.
class Batches {
 public:
  /// Borrows `pairs`. At most `tokens` source and target tokens in a batch, but always one pair. Error when there are
  /// no pairs.
  Batches(std::span<const Pair> pairs, std::int64_t tokens, std::uint64_t seed);

  /// Indices of the pairs of the n-th batch in all, n = 0, 1, …
  std::vector<int> operator()(std::int64_t n);

 private:
  void cut(std::int64_t pass);
  std::span<const Pair> pairs_;
  std::int64_t tokens_;
  std::uint64_t seed_;
  std::int64_t pass_ = -1;  // that batches_ holds
  std::vector<std::vector<int>> batches_;
  std::vector<std::int64_t> ends_;  // of the passes cut so far, in batches from the start
};

}  // namespace fovea::train
