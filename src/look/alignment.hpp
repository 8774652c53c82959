// Which source token each written one came from, by the decoder's attention to the source.
#pragma once
#include <span>
#include <vector>

#include <fovea/model.hpp>

#include "models/encoder.hpp"

namespace fovea::look {

/// The weights of one decoder row, mean over these heads (all of them when there are none): [source tokens].
std::vector<double> mean_weights(const models::LayerRecord& cross, int sequence, int row,
                                 std::span<const int> heads = {});

/// The path through the map of a layer's attention to the source: of each row, in order, the token that it looked at
/// most, mean over heads. See Aligned.
std::vector<Aligned> alignment_path(const models::LayerRecord& cross, int sequence, std::span<const Token> source);

}  // namespace fovea::look
