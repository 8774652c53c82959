// One step of learning: a batch, the loss, its gradients, an update.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "models/encoder_decoder.hpp"
#include "ops/panels.hpp"
#include "train/adamw.hpp"
#include "train/batches.hpp"

namespace fovea::train {

struct StepSettings {
  float label_smoothing = 0.05f;
  double clip = 1;  // of the gradient's global norm; 0: none
  // Texts begin at a position of 0 … shift, as far as positions go, in `shift_chance` of the steps, so that a model
  // learns places beyond its longest text.
  int shift = 24;
  double shift_chance = 0.45;
  int accumulate = 1;                 // batches whose gradients are added up before an update
  std::uint64_t seed = 1;             // of dropout and of shifts
  Products products = Products::F32;  // of linear layers; all else stays in f32, weights and moments too
};

struct StepReport {
  double loss = 0;          // mean over target tokens of the cross entropy, smoothing included
  double norm = 0;          // of the gradient, before clipping
  std::int64_t tokens = 0;  // of sources and targets
};

/// Borrows nothing; `parameters` are those of the model, made for training.
class Learner {
 public:
  Learner(std::shared_ptr<const models::EncoderDecoder> model, NamedTensors parameters, const AdamWSettings& optimiser,
          const StepSettings& settings);

  /// What is drawn depends on (seed, step) alone. A loss or gradient that is no number is reported and changes
  /// nothing.
  StepReport step(std::int64_t step, std::span<const std::vector<Pair>> batches, double learning_rate);
  AdamW& optimiser() { return optimiser_; }

 private:
  double add_gradients(std::int64_t draw, const std::vector<Pair>& batch, double weight);
  std::shared_ptr<const models::EncoderDecoder> model_;
  NamedTensors parameters_, gradients_;
  AdamW optimiser_;
  StepSettings settings_;
};

}  // namespace fovea::train
