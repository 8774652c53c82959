#include "runtime/rules.hpp"

#include <algorithm>
#include <limits>

namespace fovea::runtime {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

float& score_of(std::span<float> scores, int id) { return scores[static_cast<std::size_t>(id)]; }

void force(std::span<float> scores, int id) {
  std::ranges::fill(scores, kNever);
  score_of(scores, id) = 0;
}

/// What would complete a run of n tokens that is there already.
void forbid_repeats(std::span<const int> written, std::size_t n, std::span<float> scores) {
  if (written.size() + 1 < n) return;
  const std::span<const int> prefix = written.last(n - 1);
  for (std::size_t i = 0; i + n <= written.size(); ++i)
    if (std::ranges::equal(written.subspan(i, n - 1), prefix)) score_of(scores, written[i + n - 1]) = kNever;
}

}  // namespace

Rules::Rules(const Generation& g) : how_(g) {
  std::erase_if(how_.never, [&](const std::vector<int>& run) { return run.size() == 1 && ends(run.front()); });
}

bool Rules::ends(int id) const { return std::ranges::find(how_.ends, id) != how_.ends.end(); }

void Rules::apply(std::span<const int> written, std::span<float> scores) const {
  if (how_.no_repeat > 0) forbid_repeats(written, static_cast<std::size_t>(how_.no_repeat), scores);
  for (const std::vector<int>& run : how_.never) {
    const std::span<const int> before = std::span(run).first(run.size() - 1);
    if (before.size() <= written.size() && std::ranges::equal(written.last(before.size()), before))
      score_of(scores, run.back()) = kNever;
  }
  const int length = static_cast<int>(written.size());
  if (length < how_.min_length)
    for (const int id : how_.ends) score_of(scores, id) = kNever;
  if (length == 1 && how_.forced_begin) force(scores, *how_.forced_begin);
  if (length == how_.max_length - 1 && how_.forced_end) force(scores, *how_.forced_end);
}

}  // namespace fovea::runtime
