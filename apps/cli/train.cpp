// fovea train: learns a translator from a recipe.
#include <filesystem>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "attention_flags.hpp"
#include "command.hpp"
#include "demo/corpus.hpp"
#include "io/hub.hpp"
#include "io/json.hpp"
#include "kernels/registry.hpp"
#include "look/demo_model.hpp"
#include "progress.hpp"
#include "table.hpp"
#include "train/alignment_score.hpp"
#include "train/checkpoint.hpp"
#include "train/evaluation.hpp"
#include "train/mechanism.hpp"
#include "train/training.hpp"

namespace fovea::cli {
namespace {

struct TrainOptions {
  Common common;
  std::string recipe, output, score, sentences, dtype = "f32";
  std::optional<int> steps, seed, pairs;
  bool fresh = false, evaluate = false;
};

/// The recipe with what the command line changes, and the text that identifies it in checkpoints.
std::pair<train::Recipe, std::string> recipe_of(const TrainOptions& o) {
  if (o.recipe != "demo") train::read_recipe(o.recipe);  // complains of what the file says before anything is put in
  Json json = o.recipe == "demo" ? Json::parse(train::demo_recipe_text()) : Json(io::read_json(o.recipe));
  if (o.steps) json["training"]["steps"] = *o.steps;
  if (o.seed) json["training"]["seed"] = *o.seed;
  if (o.pairs) json["data"]["pairs"] = *o.pairs;
  const nlohmann::json checked = nlohmann::json::parse(json.dump());
  return {train::recipe_of(checked, o.recipe), checked.dump()};
}

void print_progress(const TrainOptions& o, const train::Progress& p) {
  if (!o.common.json && isatty(STDOUT_FILENO)) return say(progress_line(p));
  print_json(progress_json(p));
  std::fflush(stdout);
}

/// What its attention says: alignment and mechanism, as the report has them.
std::pair<Json, Json> looked_into(const models::EncoderDecoder& model) {
  const train::AlignmentReading reading = train::choose_reading(model);
  train::AlignmentScore all;
  Json sets = Json::array(), mechanism = Json::array();
  for (const demo::EvaluationSet& set : demo::evaluation_sets()) {
    const train::AlignmentScore s = train::score_alignment(model, set.pairs, {&reading, 1}).front();
    sets.push_back({{"set", set.name}, {"links", s.links}, {"gold", s.gold}, {"both", s.both}});
    if (set.held_out) all.links += s.links, all.gold += s.gold, all.both += s.both;
    note("aligned " + set.name);
  }
  const Json alignment{
      {"layer", reading.layer}, {"heads", reading.heads},         {"by", reading.norms ? "norms" : "weights"},
      {"share", reading.share}, {"error_rate", all.error_rate()}, {"sets", sets}};
  for (const train::Mechanism& m : train::measure_mechanism(model, 1 << 30))
    mechanism.push_back({{"from", m.from},
                         {"to", m.to},
                         {"sentences", m.sentences},
                         {"effect", m.effect},
                         {"flipped", m.flipped},
                         {"control", m.control},
                         {"draws", m.draws}});
  return {alignment, mechanism};
}

void print_mechanism(const Json& mechanism) {
  Table table({{"without"},
               {"sentences", true},
               {"right − wrong falls by", true},
               {"flipped %", true},
               {"random removals", true}});
  const auto name = [](const std::string& to) {
    return to == "pronoun"             ? "it"
           : to == "noun"              ? "its noun"
           : to == "other"             ? "the other noun"
           : to == "noun and deciding" ? "its noun and what decides"
                                       : "what decides";
  };
  for (const Json& m : mechanism)
    table.row({fmt::format("{} → {}", name(m["from"]), name(m["to"])), m["sentences"].dump(),
               fmt::format("{:.2f}", m["effect"].get<double>()),
               fmt::format("{:.1f}", 100 * m["flipped"].get<double>() / std::max(1, m["sentences"].get<int>())),
               fmt::format("{:.3f} ({} draws)", m["control"].get<double>(), m["draws"].dump())});
  table.print();
}

/// Of the model as it lies in its folder: weights rounded as they were written.
void print_scores(const TrainOptions& o, const std::string& name) {
  const auto model = models::load_encoder_decoder(name == "demo" ? look::demo_folder() : io::resolve_model(name));

  Table table({{"set"}, {"sentences", true}, {"exact %", true}, {"words that depend", true}, {"right %", true}});
  const auto percent = [](int part, int all) {
    return all == 0 ? std::string("–") : fmt::format("{:.1f}", 100.0 * part / all);
  };
  Json sets = Json::array();
  for (const train::SetScore& s :
       train::evaluate(*model, 1 << 30, [](const train::SetScore& s) { note("scored " + s.name); })) {
    table.row({s.name, std::to_string(s.sentences), percent(s.exact, s.sentences), std::to_string(s.marked),
               percent(s.right, s.marked)});
    sets.push_back(
        {{"set", s.name}, {"sentences", s.sentences}, {"exact", s.exact}, {"marked", s.marked}, {"right", s.right}});
  }
  const auto [alignment, mechanism] = looked_into(*model);
  if (o.common.json) return print_json({{"evaluation", sets}, {"alignment", alignment}, {"mechanism", mechanism}});
  table.print();
  fmt::print("\n");
  say(fmt::format(
      "alignment error rate {:.1f} over the held-out sets: layer {}, heads {}, by {}, chosen on training sentences",
      100 * alignment["error_rate"].get<double>(), alignment["layer"].dump(), alignment["heads"].dump(),
      alignment["by"].get<std::string>()));
  fmt::print("\n");
  print_mechanism(mechanism);
}

void write_sentences(const TrainOptions& o, const train::Recipe& recipe) {
  if (recipe.files) throw UsageError("--write-sentences writes the demo language; this recipe learns from files");
  demo::write_sets(o.sentences, demo::make_corpus(recipe.data_seed, recipe.pairs));
  if (!o.common.json)
    say(fmt::format("{} pairs to learn from and {} sets to ask are in {}", count_text(recipe.pairs),
                    demo::evaluation_sets().size(), o.sentences));
}

void run(const TrainOptions& o) {
  const DType dtype = dtype_of_flag("--dtype", o.dtype);
  if (o.recipe.empty()) throw UsageError("RECIPE is required: a recipe file, or demo");
  const auto [recipe, text] = recipe_of(o);
  if (!o.score.empty()) return print_scores(o, o.score);
  if (!o.sentences.empty()) return write_sentences(o, recipe);
  if (o.output.empty()) throw UsageError("-o,--output is required: where the model and its checkpoints go");
  if (o.evaluate && recipe.files) throw UsageError("--evaluate scores the demo language; this recipe learns another");
  const std::filesystem::path folder = o.output;
  const bool goes_on = !o.fresh && train::has_state(folder);
  if (!o.fresh && !goes_on && train::has_model(folder))
    throw Error(
        fmt::format("{}: holds a model that is done; name another folder, or --fresh replaces it", folder.string()));
  note("preparing the data");
  train::Training training(recipe, text, folder);
  if (goes_on) {
    training.resume();
    warn(fmt::format("goes on after step {} of {}; --fresh starts anew", training.step(), folder.string()));
  }
  if (recipe.step.products == Products::Bf16 && !active_bf16_products().table)
    warn("bf16 products: this CPU has none, so rounded numbers meet in those of f32; no faster than \"f32\"");
  keep_memory_for_training();
  defer_interrupts();
  train::Hooks hooks;
  hooks.report = [&](const train::Progress& p) { print_progress(o, p); };
  hooks.stop = [] { return interrupted(); };
  training.run(hooks);
  if (interrupted()) end_interrupted(training.step());
  training.finish(dtype);
  const std::string done = fmt::format("the model is in {}", folder.string());
  if (!o.common.json) isatty(STDOUT_FILENO) ? say(done) : warn(done);  // elsewhere each line of stdout is JSON
  if (o.evaluate) print_scores(o, folder.string());
}

Job declare_train(Flags& flags) {
  auto o = std::make_shared<TrainOptions>();
  flags
      .add_option("RECIPE", o->recipe,
                  "a recipe file (JSON), or demo: the recipe of the embedded model (which --score and "
                  "--write-sentences take without its being named)")
      ->type_name("RECIPE");
  flags.add_option("-o,--output", o->output, "the folder that the model and its checkpoints go to")
      ->type_name("FOLDER");
  flags
      .add_option("--score", o->score, "train nothing: score this model of the demo language on the held-out sentences")
      ->type_name("MODEL");
  flags
      .add_option(
          "--write-sentences", o->sentences,
          "train nothing: write the demo language, one sentence with its translation, links and what pronouns refer "
          "to on each line of JSON")
      ->type_name("FOLDER");
  flags.add_option("--steps", o->steps, "instead of the recipe's")->type_name("N");
  flags.add_option("--seed", o->seed, "instead of the recipe's")->type_name("N");
  flags.add_option("--pairs", o->pairs, "of the demo language, instead of the recipe's")->type_name("N");
  flags.add_flag("--fresh", o->fresh, "start anew even when the folder holds a checkpoint or a model");
  flags.add_flag("--evaluate", o->evaluate, "score the model on the demo's held-out sentences when it is done");
  flags.add_option("--dtype", o->dtype, "of the weights that are written in the end: f32 (default), bf16 or f16")
      ->type_name("DTYPE");
  o->common.declare(flags);
  return [o] {
    if (o->recipe.empty() && (!o->score.empty() || !o->sentences.empty())) o->recipe = "demo";
    run(*o);
  };
}

}  // namespace

const Command kTrain{"train", "learns a translator from a recipe", "RECIPE -o FOLDER [options]",
                     "  fovea train demo -o build/demo\n"
                     "  fovea train demo -o build/quick --steps 300 --pairs 20000\n"
                     "  fovea train --score demo\n"
                     "  fovea train --write-sentences build/sentences --pairs 1000\n"
                     "  fovea train path/to/recipe.json -o build/mine --json\n",
                     declare_train};

}  // namespace fovea::cli
