// The parts of fovea look: what was asked, what was found, the screen.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fovea/model.hpp>

#include "command.hpp"
#include "look_heads.hpp"
#include "model_flags.hpp"

namespace fovea::cli {

struct LookOptions : PartFlags {
  Common common;
  ModelFlags model;
  std::string text, token, export_file, rows, html_file;
  bool force = false, special = false, measure = false, importance = false, induction = false;
  int top = 0;  // 0: as many as fit a screen
};

/// What a run says, once it is asked.
struct Findings {
  std::string kind;             // of the links: what --kind says, or the self-attention over the text
  std::vector<int> queries;     // the positions that --token means; empty: all
  std::vector<HeadView> heads;  // of that kind, or of every one without --kind; in the order (kind, layer, head)
  std::vector<Link> links;      // largest weight first
  std::vector<Effect> effects;  // of the links, in their order, with --measure
  /// With --html: by kind, every edge of the heads found, each cut alone. Empty where that would take minutes.
  std::vector<std::pair<std::string, Survey>> surveys;
  double max_abs_error = 0;
};

Findings look_into(const LookOptions& o, const Model& model, const Run& run);
void print_look(const LookOptions& o, const Run& run, const Findings& found);
Json look_json(const Run& run, const Findings& found);

/// --look of a command that does the model's own job: what it attended to while doing it on this text, from that token
/// where one is given. As a screen below the answer, or into `json` beside it.
void look_after(const Common& common, const ModelFlags& flags, const Model& model, const std::string& text,
                const std::string& token, Json* json);

}  // namespace fovea::cli
