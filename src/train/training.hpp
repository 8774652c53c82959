// The loop: step after step, with reports, checkpoints, and a way to stop and go on.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "train/data.hpp"
#include "train/held_out.hpp"
#include "train/learner.hpp"
#include "train/new_model.hpp"
#include "train/recipe.hpp"

namespace fovea::train {

struct Progress {
  std::int64_t step = 0, steps = 0;  // taken, in all
  double loss = 0, norm = 0;         // means since the last report
  double learning_rate = 0;
  double tokens_per_second = 0;          // source and target tokens, since the last report
  double seconds = 0, seconds_left = 0;  // since run() began
  std::optional<HeldOutScore>
      held_out;  // when the recipe holds pairs out: every evaluate_every steps, and when it is done
};

struct Hooks {
  std::function<void(const Progress&)> report = [](const Progress&) {};
  /// After every step; true: save, and return.
  std::function<bool()> stop = [] { return false; };
};

class Training {
 public:
  /// `recipe_text` identifies the recipe in checkpoints. What is learnt goes to `folder`.
  Training(const Recipe& recipe, std::string recipe_text, std::filesystem::path folder);
  /// Goes on from the state in the folder, bitwise as if it had never stopped.
  void resume();
  /// Until the recipe's steps are done, or until hooks.stop. The folder holds model and state then; and every
  /// checkpoint_every steps. Error when nothing can be written to the folder, before the first step; and when the loss
  /// or its gradient is no number: says the step, and where the last good checkpoint is.
  void run(const Hooks& hooks);

  std::int64_t step() const { return step_; }
  const models::EncoderDecoder& model() const { return *made_.model; }
  const Data& data() const { return data_; }
  /// Writes the model with weights of this dtype, and leaves no state behind: it is done.
  void finish(DType dtype);

 private:
  void save();
  std::vector<std::vector<Pair>> batches_of(std::int64_t step);

  Data data_;
  Recipe recipe_;  // with the vocabulary that the data has
  std::string recipe_text_;
  std::filesystem::path folder_;
  NewModel made_;
  Batches batches_;
  Learner learner_;
  std::int64_t step_ = 0, saved_step_ = -1;
};

}  // namespace fovea::train
