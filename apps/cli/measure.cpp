// fovea measure: takes attention out of a model, runs it again, and shows what that did beside what random cuts do.
#include <chrono>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "attention_flags.hpp"
#include "command.hpp"
#include "measure_screen.hpp"
#include "model_flags.hpp"

namespace fovea::cli {
namespace {

/// "it:animal,it:tired" → two cuts.
std::vector<Cut> cuts_of_flag(const std::string& list) {
  std::vector<Cut> cuts;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const std::string item = list.substr(at, end - at);
    const std::size_t colon = item.find(':');
    if (colon == item.npos || colon == 0 || colon + 1 == item.size() || item.find(':', colon + 1) != item.npos)
      throw UsageError(
          fmt::format("--cut {}: expected FROM:TO, as in bank:river or 2:5; a word that holds a colon or a "
                      "comma is named by its position",
                      item));
    cuts.push_back({item.substr(0, colon), item.substr(colon + 1)});
    at = end + 1;
  }
  return cuts;
}

/// Flags that are asked whether they were given.
struct Controls {
  const Flag *draws = nullptr, *seed = nullptr;
};

Json output_json(const std::string& answer) { return answer.empty() ? Json() : Json(answer); }

Json to_json(const Effect& e) {
  return {{"metric", e.metric},
          {"before", e.before},
          {"after", e.after},
          {"effect", e.effect},
          {"weight", e.weight},
          {"local_effect", e.local_effect},
          {"control",
           {{"mean", e.control.mean},
            {"sd", e.control.sd},
            {"percentile", e.control.percentile()},
            {"draws", e.control.draws}}},
          {"output", {{"before", output_json(e.output_before)}, {"after", output_json(e.output_after)}}}};
}

Json to_json(const MeasureOptions& o, const Survey& s) {
  Json items = Json::array();
  for (const Survey::Item& x : s.items) {
    Json item = Json::object();
    if (x.query >= 0) item["query"] = x.query, item["key"] = x.key;
    if (x.layer >= 0) item["layer"] = x.layer, item["head"] = x.head;
    if (x.query >= 0) item["weight"] = x.weight;
    item["local_effect"] = x.local_effect, item["effect"] = x.effect;
    items.push_back(std::move(item));
  }
  return {{"metric", s.metric},
          {"unit", o.all},
          {"rank_correlation", {{"weight", s.weight_correlation}, {"local_effect", s.local_correlation}}},
          {"items", std::move(items)}};
}

/// What is removed is said in one way; the control belongs to --cut and --values, --token to --all.
void check_flags(const MeasureOptions& o, const Controls& controls) {
  if (int{o.cut.empty()} + int{o.query.values.empty()} + int{o.all.empty()} != 2)
    throw UsageError("say what to remove: --cut FROM:TO, --values TOKEN or --all pairs; one of them");
  if (o.query.target.empty() && !o.query.against.empty()) throw UsageError("--against belongs to --target");
  if (o.all.empty() && !o.token.empty()) throw UsageError("--token belongs to --all");
  if (!o.all.empty() && (controls.draws->given() || controls.seed->given()))
    throw UsageError("--draws and --seed belong to --cut and --values: --all has no control");
}

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void run_survey(const MeasureOptions& o, const Run& run) {
  note(fmt::format("running the model without each of the {}, one after the other", o.all));
  const auto start = Clock::now();
  const Survey survey = run.survey({.unit = o.all == "pairs"   ? SurveyQuery::Unit::Pairs
                                            : o.all == "edges" ? SurveyQuery::Unit::Edges
                                                               : SurveyQuery::Unit::Heads,
                                    .token = o.token,
                                    .layers = o.layers,
                                    .heads = o.heads,
                                    .kind = o.kind,
                                    .target = o.query.target,
                                    .against = o.query.against});
  o.common.json ? print_json(to_json(o, survey)) : print_survey(o, run, survey, seconds_since(start));
}

void run_measure(MeasureOptions& o, const Flag& text, const Controls& controls) {
  o.read();
  check_flags(o, controls);
  if (!o.cut.empty()) o.query.cuts = cuts_of_flag(o.cut);
  const Model model = o.model.load();
  o.check(model.summary());
  o.query.layers = o.layers, o.query.heads = o.heads, o.query.kind = o.kind;
  o.text = text_or_stdin(text, o.text);
  int cut = 0;
  const Run run = model(o.text, o.model.truncate, &cut);
  ModelFlags::report_cut(cut);
  o.writes = run.writes();
  if (!o.all.empty()) return run_survey(o, run);
  note(fmt::format("running the model {} times over {} tokens", 1 + o.query.draws,
                   run.tokens.size() + run.target_tokens().size()));
  const auto start = Clock::now();
  const Effect effect = run.measure(o.query);
  o.common.json ? print_json(to_json(effect)) : print_measure(o, run, effect, seconds_since(start));
}

Job declare(Flags& flags) {
  auto o = std::make_shared<MeasureOptions>();
  constexpr const char *kWhat = "What to remove", *kNumber = "What to measure";
  const Flag* text = declare_text(flags, o->text);
  flags
      .add_option(
          "--cut", o->cut,
          "edges, masked before the softmax: FROM looks, TO is looked at; a word, its k-th occurrence as word#k, "
          "or an index; with --kind cross FROM is a written word, with --kind decoder both are")
      ->type_name("FROM:TO[,FROM:TO…]")
      ->group(kWhat);
  flags.add_option("--values", o->query.values, "instead: the values of this token become zero for all who look at it")
      ->type_name("TOKEN")
      ->group(kWhat);
  flags
      .add_option("--all", o->all,
                  "instead, one after the other: what each word looks at, or every edge of every head (weight against "
                  "effect), or "
                  "whole heads, whose output becomes zero")
      ->type_name("pairs|edges|heads")
      ->one_of({"pairs", "edges", "heads"})
      ->group(kWhat);
  flags.add_option("--token", o->token, "with --all: only what this word looks at, and what becomes of it")
      ->type_name("WORD[#k]|INDEX")
      ->group(kWhat);
  o->PartFlags::declare(flags, kWhat);
  flags
      .add_option("--target", o->query.target,
                  "log-probability of this word at the text's [MASK], of this label, or of this written word at its "
                  "step, instead "
                  "of the model's own answer")
      ->type_name("WORD")
      ->group(kNumber);
  flags.add_option("--against", o->query.against, "with --target: the log-odds of the target against this one")
      ->type_name("WORD")
      ->group(kNumber);
  Controls controls;
  controls.draws =
      flags
          .add_option(
              "--draws",
              [o](const std::string& n) {
                o->query.draws = static_cast<int>(number_of_flag("--draws", n, 20, 100'000));
              },
              "random removals of equal weight and similar distance to compare with (default 20, and no fewer)")
          ->type_name("N")
          ->group(kNumber);
  controls.seed = flags
                      .add_option(
                          "--seed",
                          [o](const std::string& n) {
                            o->query.seed = static_cast<std::uint64_t>(
                                number_of_flag("--seed", n, 0, std::numeric_limits<std::int64_t>::max()));
                          },
                          "which random removals (default 0); the same seed gives the same figures")
                      ->type_name("N")
                      ->group(kNumber);
  o->model.declare(flags);
  o->common.declare(flags);
  flags.footer(
      "Without --target: the log-probability of the model's own answer where it has one to give (a translation, a word "
      "at [MASK], a label), else the cosine distance of FROM's final vector. The effect is before − after. It is "
      "called measurable "
      "when at most 1 in 20 of random removals would do as much.");
  return [o, text, controls] { run_measure(*o, *text, controls); };
}

}  // namespace

const Command kMeasure{
    "measure", "removes edges, runs the model again, and shows what that did",
    "[TEXT] --cut FROM:TO --model MODEL [options]",
    "  fovea measure \"The animal didn't cross the street because it was too tired\" --cut it:animal "
    "--target il --against elle\n"
    "  fovea measure --model build/models/minilm \"A river bank\" --cut bank:river\n"
    "  fovea measure --model build/models/minilm \"A river bank\" --values river --json\n"
    "  fovea measure --model build/models/minilm \"A river bank\" --cut 3:2 --layer 0-2\n"
    "  fovea measure --model build/models/minilm \"A river bank\" --all pairs\n"
    "  fovea measure --model build/models/minilm \"A river bank\" --all heads\n"
    "  fovea measure --model path/to/bert \"A [MASK] bank\" --cut 2:3 --target river\n",
    declare};

}  // namespace fovea::cli
