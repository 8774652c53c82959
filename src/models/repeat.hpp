// A recorded pass repeated with changes, computing only what they reach and somebody reads.
#pragma once
#include <span>

#include "models/encoder_decoder.hpp"
#include "nn/decoder_layer.hpp"
#include "nn/encoder_layer.hpp"

namespace fovea::models {

/// From the first of both to the last; an empty one adds nothing.
Range hull(Range a, Range b);

/// Whether a pass can be repeated in part: its heads, edited as a whole, would have to be there as a whole.
bool repeats(const Pass& pass);

/// As many copies as pass.repeat->read has entries, each bitwise what a whole pass gives in the rows that are read.
Result repeat_encoder(std::span<const nn::EncoderLayer> layers, const Pass& pass);
/// The same of a decoder; `sources`: what it reads, as in EncoderDecoder::decode.
Result repeat_decoder(std::span<const nn::DecoderLayer> layers, const Result& sources, const DecoderPass& pass);

}  // namespace fovea::models
