// The parts of fovea measure: what was asked, and the screen.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include <fovea/model.hpp>

#include "command.hpp"
#include "model_flags.hpp"

namespace fovea::cli {

struct MeasureOptions : PartFlags {
  Common common;
  ModelFlags model;
  std::string text, cut, all, token, ablate, over, svg;
  bool flip = false;
  bool writes = false;  // the model writes texts
  MeasureQuery query;   // `cut`, layers and heads come in when the command runs
};

/// Weight against effect, as a picture in a file.
void write_scatter(const MeasureOptions& o, const Run& run, const Survey& survey);
/// Weight against effect, over all pairs or edges.
void print_survey(const MeasureOptions& o, const Run& run, const Survey& survey, double seconds);
void print_measure(const MeasureOptions& o, const Run& run, const Effect& effect, double seconds);
/// How a set of edges was found; what it does is print_measure's.
void print_search(const Run& run, const std::string& kind, const Flip& flip);

/// The model and its text: the first lines of both screens.
void print_subject(const Run& run);
/// "all layers", "layers 0, 2".
std::string list_text(const char* one, const char* many, const std::vector<int>& list);
/// Commands that lead on from here, each the words after --model and the text; none where the text came by a pipe and
/// could not be pasted again.
void suggest_next(const MeasureOptions& o, const Run& run,
                  const std::vector<std::pair<const char*, std::vector<std::string>>>& commands);

/// An effect in few columns: four digits behind the point, or fewer where it is large.
std::string effect_number(double effect);

}  // namespace fovea::cli
