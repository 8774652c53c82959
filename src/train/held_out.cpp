#include "train/held_out.hpp"

#include <algorithm>

#include "ops/cross_entropy.hpp"
#include "train/lesson.hpp"

namespace fovea::train {
namespace {

std::int64_t likeliest_right(const Tensor& logits, std::span<const int> expected) {
  const std::int64_t classes = logits.shape()[1];
  const float* row = logits.data<float>();  // [target tokens, vocabulary]
  return std::ranges::count_if(expected, [&](int token) {
    const bool right = std::max_element(row, row + classes) - row == token;
    row += classes;
    return right;
  });
}

}  // namespace

HeldOutScore score_held_out(const models::EncoderDecoder& model, std::span<const Pair> pairs,
                            std::int64_t tokens_per_batch) {
  HeldOutScore score;
  double loss = 0;
  std::int64_t right = 0;
  while (!pairs.empty()) {
    std::size_t count = 0;
    for (std::int64_t tokens = 0; count < pairs.size(); ++count) {
      tokens += std::ssize(pairs[count].source) + std::ssize(pairs[count].target);
      if (count > 0 && tokens > tokens_per_batch) break;
    }
    const Lesson lesson = lesson_of(pairs.first(count), model.target_tokens().start);
    const Tensor logits = model.vocabulary_logits(model.decode(model.encode(lesson.sources), lesson.targets).hidden);
    const auto tokens = std::ssize(lesson.expected);
    loss += static_cast<double>(*cross_entropy(logits, lesson.expected).data<float>()) * static_cast<double>(tokens);
    right += likeliest_right(logits, lesson.expected);
    score.tokens += tokens;
    pairs = pairs.subspan(count);
  }
  score.loss = loss / static_cast<double>(score.tokens);
  score.right = static_cast<double>(right) / static_cast<double>(score.tokens);
  return score;
}

}  // namespace fovea::train
