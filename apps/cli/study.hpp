// What the studies have in common: their options, and training that can be interrupted and goes on.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "chart.hpp"
#include "command.hpp"
#include "train/recipe.hpp"
#include "train/training.hpp"

namespace fovea::cli {

extern const Command kStudy;

struct StudyOptions {
  Common common;
  std::string what, folder, svg;
  std::optional<int> steps, seed, every, sentences;
  bool quick = false;

  std::filesystem::path place() const {
    return folder.empty() ? "fovea-study/" + what + (quick ? "-quick" : "") : folder;
  }
};

void study_bottleneck(const StudyOptions& o);
void study_learning(const StudyOptions& o);

struct Learnt {
  bool now = false;    // by this run; else it was found in the folder
  double seconds = 0;  // that this run took
  double loss = 0;     // as last reported
};
/// Trains a recipe in a folder, goes on with what is there, or leaves it alone where it is done. Interrupted, it saves
/// and ends the program. `after` is called after every step. Progress goes to stderr: every report on a terminal, every
/// tenth elsewhere.
Learnt learn(const std::string& name, const train::Recipe& recipe, const std::string& recipe_text,
             const std::filesystem::path& folder,
             const std::function<void(const train::Training&, const train::Progress&)>& after = {});

/// The charts on the terminal unless --json, and as one file with -o.
void show_charts(const StudyOptions& o, std::span<const Chart> charts);

}  // namespace fovea::cli
