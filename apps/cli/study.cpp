// fovea study: what is to be learnt about attention from training models oneself.
#include "study.hpp"

#include <fstream>
#include <iterator>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "io/output_file.hpp"
#include "progress.hpp"
#include "table.hpp"
#include "train/checkpoint.hpp"

namespace fovea::cli {
namespace {

constexpr const char* kRecipeFile = "recipe.json";  // written when a model is done: of which recipe it is

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool is_done(const std::filesystem::path& folder, const std::string& recipe_text) {
  return !train::has_state(folder) && train::has_model(folder) && text_of(folder / kRecipeFile) == recipe_text;
}

void run(const StudyOptions& o) { o.what == "bottleneck" ? study_bottleneck(o) : study_learning(o); }

Job declare_study(Flags& flags) {
  auto o = std::make_shared<StudyOptions>();
  flags
      .add_option(
          "WHAT", o->what,
          "bottleneck: a recurrent translator without attention, one with, and a Transformer learn the same; how "
          "well each translates sentences of every length, and longer ones than it learnt from. learning: a "
          "Transformer while it learns what \"it\" is; what it looks at, and whether that matters")
      ->required()
      ->one_of({"bottleneck", "learning"})
      ->type_name("WHAT");
  flags.add_flag("--quick", o->quick, "minutes instead of hours: the shape of the result, not models at their best");
  flags
      .add_option("--steps", o->steps,
                  "of training, the same for every model (default: as the demo's recipe; quick 2500, learning 2000)")
      ->type_name("N");
  flags.add_option("--seed", o->seed, "of the first weights and of the order of sentences (default: 1)")
      ->type_name("N");
  flags
      .add_option("--sentences", o->sentences,
                  "held-out sentences to ask: bottleneck of each length (default: 400, quick 100); learning (128)")
      ->type_name("N");
  flags.add_option("--every", o->every, "learning: steps between two pictures (default: 100)")->type_name("N");
  flags
      .add_option("--models", o->folder,
                  "the folder that models go to; what is there is gone on with, and not learnt twice (default: "
                  "fovea-study/WHAT in this folder)")
      ->type_name("FOLDER");
  flags.add_option("-o,--output", o->svg, "write the chart as SVG")->type_name("FILE.svg");
  o->common.declare(flags);
  return [o] {
    const std::pair<const char*, std::optional<int>> counts[] = {
        {"--steps", o->steps}, {"--every", o->every}, {"--sentences", o->sentences}};
    for (const auto& [flag, value] : counts)
      if (value && *value < 1) throw UsageError(fmt::format("{} is {}; expected at least 1", flag, *value));
    if (!o->svg.empty()) io::OutputFile writable(o->svg);  // better refused now than after the training
    if (o->seed && *o->seed < 0) throw UsageError(fmt::format("--seed is {}; expected at least 0", *o->seed));
    run(*o);
  };
}

}  // namespace

Learnt learn(const std::string& name, const train::Recipe& recipe, const std::string& recipe_text,
             const std::filesystem::path& folder,
             const std::function<void(const train::Training&, const train::Progress&)>& after) {
  if (is_done(folder, recipe_text)) {
    warn(fmt::format("{}: {} holds this model already", name, folder.string()));
    return {};
  }
  note(fmt::format("{}: preparing the data", name));
  train::Training training(recipe, recipe_text, folder);
  if (train::has_state(folder)) {
    training.resume();
    warn(fmt::format("{}: goes on after step {} of {}", name, training.step(), folder.string()));
  }
  keep_memory_for_training();
  defer_interrupts();
  Learnt learnt{.now = true};
  train::Progress last;
  train::Hooks hooks;
  hooks.report = [&](const train::Progress& p) {
    last = p;
    learnt.seconds = p.seconds, learnt.loss = p.loss;
    if (isatty(STDERR_FILENO) || p.step % (10 * recipe.report_every) == 0 || p.step == p.steps)
      warn(fmt::format("{}: {}", name, progress_line(p)));
  };
  hooks.stop = [&] {
    if (after) after(training, last);
    return interrupted();
  };
  training.run(hooks);
  if (interrupted()) end_interrupted(training.step());
  training.finish(DType::F32);
  io::write_file(folder / kRecipeFile, recipe_text);
  return learnt;
}

void show_charts(const StudyOptions& o, std::span<const Chart> charts) {
  if (!o.svg.empty()) io::write_file(o.svg, charts_svg(charts));
  if (o.common.json) return;
  for (const Chart& chart : charts) {
    print_chart(chart);
    fmt::print("\n");
  }
  if (!o.svg.empty()) say(fmt::format("{} in {}", charts.size() == 1 ? "the chart is" : "the charts are", o.svg));
}

const Command kStudy{"study", "trains models to see what attention is for", "bottleneck|learning [options]",
                     "  fovea study bottleneck --quick\n"
                     "  fovea study bottleneck -o bottleneck.svg\n"
                     "  fovea study learning -o learning.svg\n"
                     "  fovea study learning --json\n",
                     declare_study};

}  // namespace fovea::cli
