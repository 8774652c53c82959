// fovea run TASK: a model's own job: filling in [MASK], or naming the class of a text.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fovea/model.hpp>

#include "command.hpp"
#include "look.hpp"
#include "model_flags.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

struct RunOptions {
  Common common;
  ModelFlags model;
  std::string task, text, pair;
  int top = 5;
  bool look = false;
};

constexpr int kProbabilityBar = 30;
constexpr const char* kRead = "0";  // the token that a classifier reads: BERT's [CLS]

void fill_mask(const RunOptions& o, const Model& model) {
  const char* mask = o.text.find("<mask>") == o.text.npos ? "[MASK]" : "<mask>";
  const std::vector<std::vector<Guess>> masks = model.fill(o.text, o.top);
  if (o.common.json) {
    Json all = Json::array();
    for (const auto& guesses : masks) {
      Json list = Json::array();
      for (const Guess& g : guesses) list.push_back({{"text", g.text}, {"id", g.id}, {"probability", g.probability}});
      all.push_back(std::move(list));
    }
    Json json{{"task", o.task}, {"model", o.model.model}, {"masks", std::move(all)}};
    if (o.look) look_after(o.common, o.model, model, o.text, mask, &json);
    return print_json(json);
  }
  say(o.text, 2);
  for (std::size_t i = 0; i < masks.size(); ++i) {
    fmt::print("\n");
    if (masks.size() > 1) say(fmt::format("mask {}", i + 1), 2, Ink::Bold);
    Table table({{"token", false, true, Ink::Bold},
                 {"id", true, false, Ink::Dim},
                 {"probability", true},
                 {"", false, false, Ink::Accent}});
    for (const Guess& g : masks[i])
      table.row(
          {g.text, std::to_string(g.id), fmt::format("{:.4f}", g.probability), bar(g.probability, kProbabilityBar)});
    table.print();
  }
  if (o.look) look_after(o.common, o.model, model, o.text, mask, nullptr);
}

void classify(const RunOptions& o, const Model& model) {
  const std::vector<Label> labels = model.classify(o.text, o.pair);
  if (o.common.json) {
    Json list = Json::array();
    for (const Label& l : labels) list.push_back({{"label", l.name}, {"probability", l.probability}});
    Json json{{"task", o.task}, {"model", o.model.model}, {"labels", std::move(list)}};
    if (o.look) look_after(o.common, o.model, model, o.text, kRead, &json);
    return print_json(json);
  }
  say(o.text, 2);
  if (!o.pair.empty()) say(o.pair, 2);
  fmt::print("\n");
  Table table({{"label", false, true, Ink::Bold}, {"probability", true}, {"", false, false, Ink::Accent}});
  for (const Label& l : labels)
    table.row({l.name, fmt::format("{:.4f}", l.probability), bar(l.probability, kProbabilityBar)});
  table.print();
  if (o.look) look_after(o.common, o.model, model, o.text, kRead, nullptr);
}

void run(RunOptions& o, const Flag& text) {
  const bool fill = o.task == "fill-mask";
  if (!fill && o.task != "classify") {
    const std::vector<std::string> tasks{"fill-mask", "classify"};
    const std::string meant = nearest(o.task, tasks);
    throw UsageError(fmt::format("unknown task '{}'{}; there are fill-mask and classify", o.task,
                                 meant.empty() ? "" : fmt::format(", did you mean {}?", meant)));
  }
  if (fill && !o.pair.empty()) throw UsageError("--pair belongs to classify");
  if (o.look && !o.pair.empty()) throw UsageError("--look looks into one text: leave out --pair");
  const Model model = o.model.load();
  o.text = text_or_stdin(text, o.text);
  check_utf8(o.pair);
  fill ? fill_mask(o, model) : classify(o, model);
}

Job declare_run(Flags& flags) {
  auto o = std::make_shared<RunOptions>();
  flags
      .add_option("TASK", o->task, "fill-mask (the likeliest tokens at each [MASK]) or classify (the labels of a text)")
      ->required()
      ->type_name("TASK");
  const Flag* text = declare_text(flags, o->text);
  flags.add_option("--pair", o->pair, "for classify: the second text of a pair")->type_name("TEXT");
  flags.add_flag("--look", o->look, "also what it attended to: from each [MASK], or from the token that is classified");
  declare_top(flags, o->top, "for fill-mask: how many tokens a mask (default 5)");
  o->model.declare(flags, false);
  o->common.declare(flags);
  return [o, text] { run(*o, *text); };
}

}  // namespace

const Command kRun{"run", "a model's own job: fill-mask or classify", "TASK [TEXT] --model MODEL [options]",
                   "  fovea run fill-mask --model path/to/bert \"Paris is in [MASK].\" --look\n"
                   "  fovea run classify --model path/to/classifier \"What a lovely day\" --json\n"
                   "  fovea run classify --model path/to/pairs \"It rains\" --pair \"It is wet\"\n",
                   declare_run};

}  // namespace fovea::cli
