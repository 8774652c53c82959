// Statistics of heads, each from one second pass over its scores: no n × n is ever held. Definitions: docs/look.md.
#pragma once
#include <map>
#include <span>
#include <string>
#include <vector>

#include <fovea/look.hpp>

#include "models/encoder.hpp"

namespace fovea::look {

/// By kind of attention: [keys], 1 for those that the tokenizer added. What is not there has none.
using SpecialKeys = std::map<std::string, std::vector<float>>;

/// One head over one sequence.
HeadStatistics head_statistics(const models::LayerRecord& record, int sequence, int head,
                               const SpecialKeys& special = {});
/// Every head of every layer, in the order (layer, head); the same bits for any number of threads.
std::vector<HeadStatistics> all_statistics(std::span<const models::LayerRecord> layers, int sequence,
                                           const SpecialKeys& special = {});

}  // namespace fovea::look
