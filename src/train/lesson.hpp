// A batch as teacher forcing has it: what the encoder reads, what the decoder is given, what it should say.
#pragma once
#include <span>
#include <vector>

#include "models/encoder_decoder.hpp"
#include "train/batches.hpp"

namespace fovea::train {

struct Lesson {
  std::vector<models::Sequence> sources, targets;
  std::vector<int> expected;  // [target tokens]
};

/// Targets are given from `start` on, all but their last token; texts begin at the positions `source_at` and
/// `target_at`.
inline Lesson lesson_of(std::span<const Pair> batch, int start, int source_at = 0, int target_at = 0) {
  Lesson lesson;
  for (const Pair& p : batch) {
    lesson.sources.push_back({p.source, {}, source_at});
    models::Sequence given{{start}, {}, target_at};
    given.ids.insert(given.ids.end(), p.target.begin(), p.target.end() - 1);
    lesson.targets.push_back(std::move(given));
    lesson.expected.insert(lesson.expected.end(), p.target.begin(), p.target.end());
  }
  return lesson;
}

}  // namespace fovea::train
