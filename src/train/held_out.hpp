// How well a model that is still learning predicts sentences that it does not learn from.
#pragma once
#include <cstdint>
#include <span>

#include "models/encoder_decoder.hpp"
#include "train/batches.hpp"

namespace fovea::train {

struct HeldOutScore {
  double loss = 0;          // mean over target tokens of −log p(token | source, targets before it), in nats
  double right = 0;         // share of target tokens that are the likeliest
  std::int64_t tokens = 0;  // target tokens that were asked for
};

/// Teacher forcing, without dropout, smoothing or shifts; at most `tokens_per_batch` source and target tokens at a
/// time. Changes nothing that the next step of training depends on.
HeldOutScore score_held_out(const models::EncoderDecoder& model, std::span<const Pair> pairs,
                            std::int64_t tokens_per_batch);

}  // namespace fovea::train
