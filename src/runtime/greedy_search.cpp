#include <algorithm>
#include <numeric>

#include <fovea/threads.hpp>

#include "runtime/rules.hpp"
#include "runtime/searches.hpp"

namespace fovea::runtime {

std::vector<Written> greedy_search(models::Decoding& decoding, std::size_t sources, const Generation& how) {
  const Rules rules(how);
  std::vector<Written> texts(sources, Written{{how.start}, 0});
  std::vector<std::size_t> rows(sources);  // row of the decoding → text
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  for (int length = 1; length < how.max_length && !rows.empty(); ++length) {
    std::vector<int> last;
    for (const std::size_t text : rows) last.push_back(texts[text].ids.back());
    Tensor logits = decoding.step(last);  // [rows, vocabulary]
    parallel_for(std::ssize(rows), [&](std::int64_t i) {
      Written& text = texts[rows[static_cast<std::size_t>(i)]];
      const std::span<float> row = row_of(logits, static_cast<std::size_t>(i));
      log_softmax_row(row);
      rules.apply(text.ids, row);
      const auto best = std::ranges::max_element(row);
      text.score += static_cast<double>(*best);
      text.ids.push_back(static_cast<int>(best - row.begin()));
    });
    std::vector<int> going;
    std::vector<std::size_t> left;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rules.ends(texts[rows[i]].ids.back())) continue;
      going.push_back(static_cast<int>(i));
      left.push_back(rows[i]);
    }
    if (left.size() < rows.size()) decoding.select(going);
    rows = std::move(left);
  }
  for (Written& text : texts) text.score = normalised(text.score, text.ids.size() - 1, how);
  return texts;
}

}  // namespace fovea::runtime
