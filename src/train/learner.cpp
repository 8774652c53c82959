#include "train/learner.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "demo/draw.hpp"
#include "ops/cross_entropy.hpp"
#include "ops/tape.hpp"
#include "train/lesson.hpp"

namespace fovea::train {
namespace {

std::int64_t target_tokens(const std::vector<Pair>& batch) {
  std::int64_t n = 0;
  for (const Pair& p : batch) n += std::ssize(p.target);
  return n;
}

}  // namespace

Learner::Learner(std::shared_ptr<const models::EncoderDecoder> model, NamedTensors parameters,
                 const AdamWSettings& optimiser, const StepSettings& settings)
    : model_(std::move(model)),
      parameters_(std::move(parameters)),
      optimiser_(parameters_, optimiser),
      settings_(settings) {}

/// Adds `weight` times the gradients of the batch's mean loss to gradients_, and returns that loss.
double Learner::add_gradients(std::int64_t index, const std::vector<Pair>& batch, double weight) {
  demo::Draw draw(settings_.seed, 0x7368696674, static_cast<std::uint64_t>(index));
  const bool shifted = settings_.shift > 0 && draw.chance(settings_.shift_chance);
  const auto shift_of = [&](std::vector<int> Pair::*side) {
    if (!shifted) return 0;
    std::int64_t longest = 0;
    for (const Pair& p : batch) longest = std::max(longest, std::ssize(p.*side));
    const auto room = std::max<std::int64_t>(model_->summary().positions - longest, 0);
    return draw.below(static_cast<int>(std::min<std::int64_t>(settings_.shift, room)) + 1);
  };
  const int source_shift = shift_of(&Pair::source), target_shift = shift_of(&Pair::target);
  const Lesson lesson = lesson_of(batch, model_->target_tokens().start, source_shift, target_shift);
  Tape tape(draw.next(), settings_.products);
  for (const auto& [name, p] : parameters_) tape.watch(p);
  const models::Result read = model_->encode(lesson.sources);
  const Tensor logits = model_->vocabulary_logits(model_->decode(read, lesson.targets).hidden);  // [tokens, vocabulary]
  const Tensor loss = cross_entropy(logits, lesson.expected, {settings_.label_smoothing, -1});
  const double value = static_cast<double>(*loss.data<float>());
  if (!std::isfinite(value)) return value;
  tape.backward(loss);
  for (const auto& [name, p] : parameters_) {
    const Tensor g = tape.gradient(p);
    const auto [at, first] = gradients_.try_emplace(name, g);
    if (first && weight == 1) continue;
    float* sum = at->second.data<float>();
    const float *more = g.data<float>(), times = static_cast<float>(weight);
    for (std::int64_t i = 0, n = g.elements(); i < n; ++i) sum[i] = (first ? 0.0f : sum[i]) + times * more[i];
  }
  return value;
}

StepReport Learner::step(std::int64_t step, std::span<const std::vector<Pair>> batches, double learning_rate) {
  StepReport report;
  std::int64_t all = 0;
  for (const auto& batch : batches) all += target_tokens(batch);
  gradients_.clear();
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const double share = static_cast<double>(target_tokens(batches[i])) / static_cast<double>(all);
    report.loss += share * add_gradients(step * std::ssize(batches) + static_cast<std::int64_t>(i), batches[i], share);
    for (const Pair& p : batches[i]) report.tokens += std::ssize(p.source) + std::ssize(p.target);
    if (!std::isfinite(report.loss)) return report;
  }
  report.norm = global_norm(gradients_);
  if (!std::isfinite(report.norm)) return report;
  const double factor = settings_.clip > 0 && report.norm > settings_.clip ? settings_.clip / report.norm : 1;
  optimiser_.step(gradients_, learning_rate, factor);
  return report;
}

}  // namespace fovea::train
