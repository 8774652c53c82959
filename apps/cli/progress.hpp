// What training says of itself while it runs.
#pragma once
#include <string>

#include "command.hpp"
#include "train/training.hpp"

namespace fovea::cli {

/// "step 100 of 7000   loss 1.2345   12000 tokens/s   3 min 05 s left"
std::string progress_line(const train::Progress& p);
Json progress_json(const train::Progress& p);

/// For the rest of the program: a step makes and drops the same few hundred tensors, and memory that went back to the
/// system each time would cost a tenth of it.
void keep_memory_for_training();
/// Says that what was learnt is saved, and ends the program as an interrupted one.
[[noreturn]] void end_interrupted(std::int64_t step);

}  // namespace fovea::cli
