// How near translations are to those that were expected.
#pragma once
#include <span>
#include <vector>

#include "demo/vocabulary.hpp"

namespace fovea::train {

/// BLEU of a corpus (Papineni et al. 2002, doi 10.3115/1073083.1073135), 0 to 100: the geometric mean of how many of
/// the written runs of 1 to 4 words stand in the expected text (each at most as often as there), times
/// e^(1 − expected/written words) where too little was written. One expected text for each; runs are counted over all
/// texts together and nothing is smoothed, so that it is 0 where no run of 4 words is right. Error when there are not
/// as many of both.
double bleu(std::span<const std::vector<demo::Word>> written, std::span<const std::vector<demo::Word>> expected);

}  // namespace fovea::train
