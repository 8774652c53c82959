#include "train/bleu.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include <fovea/error.hpp>

namespace fovea::train {
namespace {

using Words = std::vector<demo::Word>;

std::map<Words, int> runs_of(const Words& text, std::size_t length) {
  std::map<Words, int> counts;
  for (std::size_t i = 0; i + length <= text.size(); ++i) {
    const auto begin = text.begin() + static_cast<std::ptrdiff_t>(i);
    ++counts[Words(begin, begin + static_cast<std::ptrdiff_t>(length))];
  }
  return counts;
}

}  // namespace

double bleu(std::span<const Words> written, std::span<const Words> expected) {
  if (written.size() != expected.size())
    throw Error(fmt::format("BLEU of {} texts against {}; expected as many", written.size(), expected.size()));
  constexpr std::size_t kLongest = 4;
  std::array<double, kLongest> right{}, all{};
  double words = 0, wanted = 0;
  for (std::size_t i = 0; i < written.size(); ++i) {
    words += static_cast<double>(written[i].size()), wanted += static_cast<double>(expected[i].size());
    for (std::size_t n = 0; n < kLongest; ++n) {
      const std::map<Words, int> there = runs_of(expected[i], n + 1);
      for (const auto& [run, count] : runs_of(written[i], n + 1)) {
        const auto found = there.find(run);
        right[n] += found == there.end() ? 0 : std::min(count, found->second);
        all[n] += count;
      }
    }
  }
  double logs = 0;
  for (std::size_t n = 0; n < kLongest; ++n) {
    if (right[n] == 0) return 0;
    logs += std::log(right[n] / all[n]) / kLongest;
  }
  return 100 * std::exp(std::min(0.0, 1 - wanted / words) + logs);
}

}  // namespace fovea::train
