// fovea measure: takes attention out of a model, runs it again, and shows what that did beside what random cuts do.
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "attention_flags.hpp"
#include "command.hpp"
#include "core/stopwatch.hpp"
#include "io/output_file.hpp"
#include "measure_screen.hpp"
#include "model_flags.hpp"
#include "table.hpp"

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

/// "2.1,3.0" → two heads.
std::vector<HeadAt> heads_of_flag(const std::string& list) {
  std::vector<HeadAt> heads;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const std::string item = list.substr(at, end - at);
    const std::size_t dot = item.find('.');
    if (dot == item.npos)
      throw UsageError(fmt::format("--ablate {}: expected LAYER.HEAD, as in 2.1; several as in 2.1,3.0", item));
    constexpr int kMost = 100'000;
    heads.push_back({static_cast<int>(number_of_flag("--ablate", item.substr(0, dot), 0, kMost)),
                     static_cast<int>(number_of_flag("--ablate", item.substr(dot + 1), 0, kMost))});
    at = end + 1;
  }
  return heads;
}

/// Flags that are asked whether they were given.
struct Controls {
  const Flag *draws = nullptr, *seed = nullptr;
};

Json output_json(const std::string& answer) { return answer.empty() ? Json() : Json(answer); }

/// Only where the metric has a slope.
void add_gradient(Json& object, double effect) {
  if (!std::isnan(effect)) object["gradient_effect"] = effect;
}

Json to_json(const Effect& e) {
  Json all{{"metric", e.metric}, {"before", e.before}, {"after", e.after},
           {"effect", e.effect}, {"weight", e.weight}, {"local_effect", e.local_effect}};
  add_gradient(all, e.gradient_effect);
  if (!std::isnan(e.kl))
    all.update({{"logit_effect", e.logit_effect}, {"log_probability_effect", e.log_probability_effect}, {"kl", e.kl}});
  all["control"] = {{"mean", e.control.mean},
                    {"sd", e.control.sd},
                    {"percentile", e.control.percentile()},
                    {"draws", e.control.draws}};
  all["output"] = {{"before", output_json(e.output_before)}, {"after", output_json(e.output_after)}};
  return all;
}

Json to_json(const MeasureOptions& o, const Survey& s) {
  Json items = Json::array();
  for (const Survey::Item& x : s.items) {
    Json item = Json::object();
    if (x.query >= 0) item["query"] = x.query, item["key"] = x.key;
    if (x.layer >= 0) item["layer"] = x.layer, item["head"] = x.head;
    if (x.query >= 0) item["weight"] = x.weight;
    item["local_effect"] = x.local_effect;
    add_gradient(item, x.gradient_effect);
    item["effect"] = x.effect;
    items.push_back(std::move(item));
  }
  Json correlation{{"weight", s.weight_correlation}, {"local_effect", s.local_correlation}};
  add_gradient(correlation, s.gradient_correlation);
  return {
      {"metric", s.metric}, {"unit", o.all}, {"rank_correlation", std::move(correlation)}, {"items", std::move(items)}};
}

/// What is removed is said in one way; the control belongs to --cut and --values, --token to --all.
void check_flags(const MeasureOptions& o, const Controls& controls) {
  if (int{o.cut.empty()} + int{o.query.values.empty()} + int{o.ablate.empty()} + int{o.all.empty()} + int{!o.flip} != 4)
    throw UsageError(
        "say what to remove: --cut FROM:TO, --values TOKEN, --ablate LAYER.HEAD, --all pairs or --flip; one of them");
  if (o.flip && (o.query.target.empty() || o.query.against.empty()))
    throw UsageError("--flip wants --target and --against: the choice that is to be turned around");
  if (o.query.mean && o.ablate.empty() && o.all != "heads")
    throw UsageError("--mean belongs to --ablate and --all heads");
  if (!o.over.empty() && !o.query.mean) throw UsageError("--over belongs to --mean: it says what the mean is over");
  if (!o.ablate.empty() && (o.layer != "all" || o.head != "all"))
    throw UsageError("--ablate names layers and heads itself, as in --ablate 2.1; leave out --layer and --head");
  if (!o.svg.empty() && o.all.empty()) throw UsageError("--svg belongs to --all: a picture of weight against effect");
  if (o.query.target.empty() && !o.query.against.empty()) throw UsageError("--against belongs to --target");
  if (!o.query.target.empty() && o.query.target == o.query.against)
    throw UsageError(fmt::format("--target and --against are both {}; expected two different words", o.query.target));
  if (o.all.empty() && !o.token.empty()) throw UsageError("--token belongs to --all");
  if (!o.all.empty() && (controls.draws->given() || controls.seed->given()))
    throw UsageError("--draws and --seed belong to --cut and --values: --all has no control");
}

/// Says at first how long a survey takes at most, then how far it is and what is left, not more than once a second.
class Progress {
 public:
  explicit Progress(double one_run) : one_run_(one_run) {}
  void operator()(std::size_t done, std::size_t all) {
    if (done == 0)
      return note(fmt::format("{} reruns, side by side: {} at most", count_text(static_cast<std::int64_t>(all)),
                              duration(one_run_ * static_cast<double>(all))));
    const double seconds = watch_.seconds();
    if (done == all || seconds - said_ < 1) return;
    said_ = seconds;
    note(fmt::format("{} of {} reruns, {} left", count_text(static_cast<std::int64_t>(done)),
                     count_text(static_cast<std::int64_t>(all)),
                     duration(seconds / static_cast<double>(done) * static_cast<double>(all - done))));
  }

 private:
  Stopwatch watch_;
  double one_run_, said_ = 0;
};

void run_survey(const MeasureOptions& o, const Run& run, double one_run) {
  const Stopwatch watch;
  Progress progress(one_run);
  const Survey survey = run.survey({.unit = o.all == "pairs"   ? SurveyQuery::Unit::Pairs
                                            : o.all == "edges" ? SurveyQuery::Unit::Edges
                                                               : SurveyQuery::Unit::Heads,
                                    .token = o.token,
                                    .layers = o.layers,
                                    .heads = o.heads,
                                    .kind = o.kind,
                                    .target = o.query.target,
                                    .against = o.query.against,
                                    .mean = o.query.mean,
                                    .over = o.query.over,
                                    .progress = [&](std::size_t done, std::size_t all) { progress(done, all); }});
  if (!o.svg.empty()) write_scatter(o, run, survey);
  o.common.json ? print_json(to_json(o, survey)) : print_survey(o, run, survey, watch.seconds());
}

void run_flip(MeasureOptions& o, const Run& run) {
  note("searching: each step runs the model once for every pair of positions");
  const Stopwatch watch;
  const Flip flip = run.flip(o.query);
  o.query.cuts = flip.cuts;
  if (!o.common.json) {
    print_search(run, o.kind, flip);
    return print_measure(o, run, flip.effect, watch.seconds());
  }
  Json json = to_json(flip.effect), cuts = Json::array(), search = Json::array();
  for (const Cut& c : flip.cuts) cuts.push_back({{"query", std::stoi(c.from)}, {"key", std::stoi(c.to)}});
  for (const Flip::Step& s : flip.search) search.push_back({{"query", s.query}, {"key", s.key}, {"after", s.after}});
  json.update({{"flipped", flip.flipped}, {"cuts", cuts}, {"search", search}});
  print_json(json);
}

void run_measure(MeasureOptions& o, const Flag& text, const Controls& controls) {
  o.read();
  check_flags(o, controls);
  if (!o.cut.empty()) o.query.cuts = cuts_of_flag(o.cut);
  if (!o.ablate.empty()) o.query.ablate = heads_of_flag(o.ablate);
  if (!o.over.empty()) o.query.over = lines_of_file(o.over);
  if (!o.svg.empty()) io::OutputFile writable(o.svg);  // better refused now than after the reruns
  const Model model = o.model.load();
  o.check(model.summary());
  o.query.layers = o.layers, o.query.heads = o.heads, o.query.kind = o.kind;
  o.text = text_or_stdin(text, o.text);
  const Stopwatch whole;
  const Run run = o.model.run(model, o.text);
  o.writes = run.writes();
  if (!o.all.empty()) return run_survey(o, run, whole.seconds());
  if (o.flip) return run_flip(o, run);
  note(fmt::format("running the model {} times over {} tokens", 1 + o.query.draws,
                   run.tokens.size() + run.target_tokens().size()));
  const Stopwatch watch;
  const Effect effect = run.measure(o.query);
  o.common.json ? print_json(to_json(effect)) : print_measure(o, run, effect, watch.seconds());
}

Job declare_measure(Flags& flags) {
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
  flags
      .add_option("--ablate", o->ablate,
                  "instead: these heads are silenced, all at once; what they put out becomes zero, or its mean")
      ->type_name("L.H[,L.H…]")
      ->group(kWhat);
  flags
      .add_flag(
          "--flip", o->flip,
          "instead: searches for the fewest edges (up to 4 pairs of positions) without which --against is likelier "
          "than --target")
      ->group(kWhat);
  flags
      .add_flag("--mean", o->query.mean,
                "of --ablate and --all heads: silenced to what a head puts out on average, not to zero")
      ->group(kWhat);
  flags.add_option("--over", o->over, "with --mean: the average is over these texts, one a line (default: over TEXT)")
      ->type_name("FILE")
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
  flags.add_option("--svg", o->svg, "with --all: also a picture of weight against effect")
      ->type_name("FILE")
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
  o->model.declare_written(flags);
  o->common.declare(flags);
  flags.footer(
      "Without --target: the log-probability of the model's own answer where it has one to give (a translation, a word "
      "at [MASK], a label), else the cosine distance of FROM's final vector. The effect is before − after. It is "
      "called measurable "
      "when at most 1 in 20 of random removals would do as much.");
  return [o, text, controls] { run_measure(*o, *text, controls); };
}

}  // namespace

const Command kMeasure{"measure", "removes edges, runs the model again, and shows what that did",
                       "[TEXT] --cut FROM:TO [options]",

                       "  fovea measure \"The bank by the river was flooded.\" --cut bank:river \\\n"
                       "    --target rive --against banque\n"
                       "  fovea measure \"The bank by the river was flooded.\" --flip \\\n"
                       "    --target rive --against banque\n"
                       "  fovea measure --model build/models/minilm \"A river bank\" --cut bank:river\n"
                       "  fovea measure --model build/models/minilm \"A river bank\" --values river --json\n"
                       "  fovea measure --model build/models/minilm \"A river bank\" --cut 3:2 --layer 0-2\n"
                       "  fovea measure --model build/models/minilm \"A river bank\" --all pairs\n"
                       "  fovea measure \"The bank was flooded.\" --all heads --svg heads.svg\n"
                       "  fovea measure --model build/models/minilm \"A river bank\" --ablate 2.1,3.0\n"
                       "  fovea measure --model path/to/bert \"A [MASK] bank\" --cut 2:3 --target river\n",
                       declare_measure};

}  // namespace fovea::cli
