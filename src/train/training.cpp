#include "train/training.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/stopwatch.hpp"
#include "train/checkpoint.hpp"

namespace fovea::train {
namespace {

/// The data decides how large the vocabulary is.
Recipe with_vocabulary(Recipe recipe, const Data& data) {
  recipe.model.vocabulary = data.vocabulary;
  if (recipe.recurrent) recipe.recurrent->vocabulary = data.vocabulary;
  return recipe;
}

}  // namespace

Training::Training(const Recipe& recipe, std::string recipe_text, std::filesystem::path folder)
    : data_(data_of(recipe)),
      recipe_(with_vocabulary(recipe, data_)),
      recipe_text_(std::move(recipe_text)),
      folder_(std::move(folder)),
      made_(new_model(recipe_)),
      batches_(data_.pairs, recipe.tokens_per_batch, recipe.seed),
      learner_(made_.model, made_.parameters, recipe.optimiser, recipe.step) {}

void Training::resume() {
  const State state = read_state(folder_, recipe_text_);
  const auto check = [&](const NamedTensors& stored, const char* what) {  // of everything, before anything changes
    for (const auto& [name, p] : made_.parameters) {
      const auto found = stored.find(name);
      if (found == stored.end() || !(found->second.shape() == p.shape()) || found->second.dtype() != DType::F32)
        throw Error(fmt::format("{}: the state has no {} \"{}\" of F32 {}; start anew in another folder",
                                folder_.string(), what, name, p.shape().str()));
    }
  };
  check(state.parameters, "parameter"), check(state.first, "first moment"), check(state.second, "second moment");
  for (auto& [name, p] : made_.parameters)
    std::ranges::copy(state.parameters.at(name).values<float>(), p.data<float>());
  learner_.optimiser().restore(state.step, state.first, state.second);
  step_ = saved_step_ = state.step;
}

void Training::save() {
  const AdamW& optimiser = learner_.optimiser();
  write_state(folder_, {step_, made_.parameters, optimiser.first(), optimiser.second()}, recipe_text_);
  write_model(folder_, recipe_, data_.tokenizer_json, made_.parameters, made_.buffers, DType::F32);
}

void Training::finish(DType dtype) {
  write_model(folder_, recipe_, data_.tokenizer_json, made_.parameters, made_.buffers, dtype);
  remove_state(folder_);
}

std::vector<std::vector<Pair>> Training::batches_of(std::int64_t step) {
  std::vector<std::vector<Pair>> batches;
  for (int i = 0; i < recipe_.step.accumulate; ++i) {
    batches.emplace_back();
    for (const int at : batches_(step * recipe_.step.accumulate + i))
      batches.back().push_back(data_.pairs[static_cast<std::size_t>(at)]);
  }
  return batches;
}

void Training::run(const Hooks& hooks) {
  check_writable(folder_);
  const Stopwatch watch;
  const std::int64_t steps = recipe_.schedule.steps, first = step_;
  Progress sums;
  Stopwatch since_report;
  std::int64_t tokens = 0, counted = 0;
  while (step_ < steps) {
    const double rate = recipe_.schedule(step_);
    const StepReport r = learner_.step(step_, batches_of(step_), rate);
    if (!std::isfinite(r.loss) || !std::isfinite(r.norm)) {
      const bool loss = !std::isfinite(r.loss);
      throw Error(fmt::format("the {} of step {} is {}: no number to learn from. {}", loss ? "loss" : "gradient's norm",
                              step_ + 1, std::abs(loss ? r.loss : r.norm),
                              saved_step_ < 0
                                  ? std::string("No checkpoint was written yet; lower learning_rate")
                                  : fmt::format("{} holds the state after step {}; lower learning_rate and resume",
                                                folder_.string(), saved_step_)));
    }
    ++step_, ++counted;
    sums.loss += r.loss, sums.norm += r.norm, tokens += r.tokens;
    const bool stop = hooks.stop(), last = step_ == steps;
    const bool evaluated = last || (recipe_.evaluate_every > 0 && step_ % recipe_.evaluate_every == 0);
    if (stop || evaluated || step_ % recipe_.report_every == 0) {
      const auto n = static_cast<double>(counted);
      const double elapsed = watch.seconds(), each = elapsed / static_cast<double>(step_ - first);
      Progress report{step_,
                      steps,
                      sums.loss / n,
                      sums.norm / n,
                      rate,
                      static_cast<double>(tokens) / since_report.seconds(),
                      elapsed,
                      each * static_cast<double>(steps - step_),
                      {}};
      if (evaluated && !data_.held_out.empty())
        report.held_out = score_held_out(*made_.model, data_.held_out, recipe_.tokens_per_batch);
      hooks.report(report);
      sums = {}, since_report = {}, tokens = counted = 0;
    }
    if (stop || last || step_ % recipe_.checkpoint_every == 0) save(), saved_step_ = step_;
    if (stop) return;
  }
}

}  // namespace fovea::train
