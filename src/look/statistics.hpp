// Statistics of heads, from bands of rebuilt rows: no n × n is ever held. Definitions: docs/look.md.
#pragma once
#include <span>
#include <vector>

#include <fovea/look.hpp>

#include "models/encoder.hpp"

namespace fovea::look {

/// One head over one sequence.
HeadStatistics head_statistics(const models::LayerRecord& record, int sequence, int head);
/// Every head of every layer, in the order (layer, head); the same bits for any number of threads.
std::vector<HeadStatistics> all_statistics(std::span<const models::LayerRecord> layers, int sequence);

}  // namespace fovea::look
