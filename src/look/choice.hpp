// Which layers and heads a question is about.
#pragma once
#include <string>
#include <vector>

#include "models/encoder.hpp"

namespace fovea::look {

/// 0, 1, …, n − 1.
std::vector<int> all_below(int n);
/// The chosen ones in ascending order, each once; all of them when nothing was chosen. Error naming `what` when one is
/// not there.
std::vector<int> chosen(const char* what, std::vector<int> wanted, int count);
/// Layers of that kind of attention, by layer; empty means the model's self-attention. Error when there are none.
std::vector<const models::LayerRecord*> records_of_kind(const std::vector<models::LayerRecord>& layers,
                                                        const std::string& kind);

}  // namespace fovea::look
