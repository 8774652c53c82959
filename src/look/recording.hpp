// What a run keeps, said before it is taken.
#pragma once
#include <cstdint>

#include <fovea/look.hpp>

#include "models/encoder.hpp"

namespace fovea::look {

/// See Model::recording.
Recording recording_of(const models::Summary& model, std::int64_t tokens, std::int64_t written);
/// Error where that is more than `limit` bytes, with what is kept and how many tokens would fit; 0: no limit.
void check_limit(const models::Summary& model, std::int64_t limit, std::int64_t tokens, std::int64_t written);

}  // namespace fovea::look
