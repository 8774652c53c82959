// The parts of fovea measure: what was asked, and the screen.
#pragma once
#include <string>

#include <fovea/model.hpp>

#include "command.hpp"
#include "model_flags.hpp"

namespace fovea::cli {

struct MeasureOptions : PartFlags {
  Common common;
  ModelFlags model;
  std::string text, cut;
  MeasureQuery query;  // `cut`, layers and heads come in when the command runs
};

void print_measure(const MeasureOptions& o, const Run& run, const Effect& effect, double seconds);

/// An effect in few columns: four digits behind the point, or fewer where it is large.
std::string effect_number(double effect);

}  // namespace fovea::cli
