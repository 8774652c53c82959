// What a head is for, where that takes a pass of its own: importance and induction.
#pragma once
#include <cstdint>
#include <vector>

#include "look/metric.hpp"
#include "look/original.hpp"

namespace fovea::look {

/// See Run::importance; of the heads of the run's kind of attention.
std::vector<HeadScore> importance(const Original& run, const Metric& metric);
/// Of sequences that say rows [begin, begin + block) twice: the mean of A_i,i−block+1 over the second time, of each
/// head. There stands what followed this token when it was there first.
std::vector<double> block_scores(const models::LayerRecord& record, int sequences, int begin, int block);
/// See Model::induction. The same texts for the same seed.
std::vector<HeadScore> induction(const ModelParts& model, std::uint64_t seed = 0);

}  // namespace fovea::look
