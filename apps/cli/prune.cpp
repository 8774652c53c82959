// fovea prune: takes heads out one after another, the least needed first, and writes the model without them.
#include "look/prune.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "attention_flags.hpp"
#include "chart.hpp"
#include "command.hpp"
#include "core/stopwatch.hpp"
#include "demo/corpus.hpp"
#include "demo/vocabulary.hpp"
#include "io/hub.hpp"
#include "io/output_file.hpp"
#include "look/demo_model.hpp"
#include "model_flags.hpp"
#include "models/pruned.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

struct PruneOptions {
  Common common;
  ModelFlags model;
  std::string text, output, svg, rank;
  int keep = 0, sentences = 1 << 20, rank_on = 200;
  double lose = 1;
  const Flag* keep_given = nullptr;
};

using look::PruneCurve;
using look::PruneStep;

// ---------------------------------------------------------------------------------------------------------------- task

look::WritingPair pair_of(const demo::SentencePair& p) {
  look::WritingPair pair{{p.english.begin(), p.english.end()}, {p.french.begin(), p.french.end()}};
  pair.first.push_back(demo::kEnd);
  return pair;
}

/// Sentences of the training mix rank heads; held-out combinations, which training never shows, judge what is left.
std::unique_ptr<look::PruneTask> demo_task(const PruneOptions& o, const look::ModelParts& model) {
  constexpr std::uint64_t kSeed = 1;
  std::vector<look::WritingPair> ranking, judging;
  for (const demo::SentencePair& p : demo::make_corpus(kSeed, o.rank_on).pairs) ranking.push_back(pair_of(p));
  for (const demo::EvaluationSet& set : demo::evaluation_sets())
    if (set.held_out)
      for (const demo::SentencePair& p : set.pairs) judging.push_back(pair_of(p));
  // Spread over all sets when only some are asked for.
  const std::size_t step = std::max<std::size_t>(1, judging.size() / static_cast<std::size_t>(o.sentences));
  std::vector<look::WritingPair> some;
  for (std::size_t i = 0; i < judging.size() && some.size() < static_cast<std::size_t>(o.sentences); i += step)
    some.push_back(std::move(judging[i]));
  return look::writing_task(*model.writer, std::move(ranking), std::move(some));
}

/// A model that writes is to write what it wrote when it was whole.
std::unique_ptr<look::PruneTask> own_writing_task(const PruneOptions& o, const look::ModelParts& model,
                                                  const std::vector<std::string>& texts) {
  std::vector<look::WritingPair> pairs[2];  // every second one ranks
  const std::vector<Translation> written = o.model.load().translate(texts);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    look::WritingPair& pair = pairs[i % 2].emplace_back();
    for (const Token& t : written[i].tokens) pair.first.push_back(t.id);
    for (const Token& t : written[i].target_tokens)
      if (t.id != model.writer->target_tokens().end) pair.second.push_back(t.id);
  }
  return look::writing_task(*model.writer, std::move(pairs[1]), std::move(pairs[0]));
}

std::unique_ptr<look::PruneTask> task_of(const PruneOptions& o, const look::ModelParts& model) {
  if (o.text.empty()) return demo_task(o, model);
  std::vector<std::string> texts = lines_of_file(o.text);
  if (texts.size() > static_cast<std::size_t>(o.sentences)) texts.resize(static_cast<std::size_t>(o.sentences));
  return model.writer ? own_writing_task(o, model, texts) : look::reading_task(model, texts);
}

// -------------------------------------------------------------------------------------------------------------- report

std::string name_of(const look::PrunedHead& h) { return fmt::format("{} {}·{}", h.kind, h.layer, h.head); }

Chart chart_of(const PruneOptions& o, const look::PruneTask& task, const PruneCurve& curve) {
  const std::string quality = task.metric() == "exact_match" ? "exact match, %"
                              : task.metric() == "agreement" ? "answers as before, %"
                                                             : "cosine with before, %";
  const auto all = static_cast<double>(task.heads().size());
  Series points{quality, {{all, 100 * curve.whole.quality}}, Series::Style::Line};
  for (std::size_t i = 0; i < curve.steps.size(); ++i)
    points.points.emplace_back(all - static_cast<double>(i + 1), 100 * curve.steps[i].left.quality);
  std::ranges::sort(points.points);
  Chart chart;
  chart.title = fmt::format("{}: quality against heads kept", o.model.model);
  chart.x_label = "heads kept";
  chart.y_label = quality;
  chart.series = {std::move(points)};
  return chart;
}

Json to_json(const PruneOptions& o, const look::PruneTask& task, const PruneCurve& curve) {
  Json steps = Json::array();
  auto left = static_cast<int>(task.heads().size());
  for (const PruneStep& s : curve.steps)
    steps.push_back({{"kept", --left},
                     {"removed", {{"kind", s.removed.kind}, {"layer", s.removed.layer}, {"head", s.removed.head}}},
                     {"rank", s.rank},
                     {"quality", s.left.quality},
                     {"loss", s.left.loss}});
  return {{"model", o.model.model},
          {"metric", task.metric()},
          {"ranked_by", o.rank},
          {"sentences", {{"ranking", task.ranking()}, {"judging", task.judged()}}},
          {"heads", task.heads().size()},
          {"whole", {{"quality", curve.whole.quality}, {"loss", curve.whole.loss}}},
          {"steps", std::move(steps)},
          {"spare", {{"lost", o.lose / 100}, {"heads", curve.spare(o.lose / 100)}}},
          {"output", o.output.empty() ? Json() : Json(o.output)}};
}

void print_curve(const PruneOptions& o, const look::PruneTask& task, const PruneCurve& curve) {
  const std::size_t heads = task.heads().size();
  print_chart(chart_of(o, task, curve));
  fmt::print("\n");
  constexpr std::size_t kRows = 12;
  Table table(
      {{"kept", true}, {"gone", false, true, Ink::Accent}, {"quality %", true, false, Ink::Bold}, {"loss", true}});
  table.row({std::to_string(heads), "none", fmt::format("{:.2f}", 100 * curve.whole.quality),
             fmt::format("{:.4f}", curve.whole.loss)});
  const std::size_t step = std::max<std::size_t>(1, (curve.steps.size() + kRows - 1) / kRows);
  std::string gone;
  for (std::size_t i = 0; i < curve.steps.size(); ++i) {
    gone += (gone.empty() ? "" : ", ") + name_of(curve.steps[i].removed);
    if ((i + 1) % step != 0 && i + 1 != curve.steps.size()) continue;
    table.row({std::to_string(heads - i - 1), gone, fmt::format("{:.2f}", 100 * curve.steps[i].left.quality),
               fmt::format("{:.4f}", curve.steps[i].left.loss)});
    gone.clear();
  }
  table.print();
  fmt::print("\n");
  const int spare = curve.spare(o.lose / 100);
  say(fmt::format("{} of {} heads can go, in this order, before quality falls by more than {:g} point{}", spare, heads,
                  o.lose, o.lose == 1 ? "" : "s"),
      2, Ink::Bold);
  say(fmt::format("ranked anew after each by {} over {} texts, judged by {} others", o.rank, task.ranking(),
                  task.judged()),
      2, Ink::Dim);
}

// ----------------------------------------------------------------------------------------------------------------- job

void check_flags(const PruneOptions& o) {
  if (!o.output.empty() && !o.keep_given->given())
    throw UsageError("-o wants --keep N: how many heads the model is to have left");
  if (o.text.empty() && o.model.model != "demo")
    throw UsageError(
        "--text FILE is required: texts, one a line, that the model is to do as well as it does now (the demo has its "
        "own)");
}

void write(const PruneOptions& o, const std::filesystem::path& folder, const PruneCurve& curve) {
  std::map<int, std::set<int>> heads;
  for (const PruneStep& s : curve.steps) heads[s.removed.layer].insert(s.removed.head);
  models::write_pruned(folder, heads, o.output);
}

void run(PruneOptions& o) {
  check_flags(o);
  const std::filesystem::path folder = o.model.model == "demo" ? look::demo_folder() : io::resolve_model(o.model.model);
  if (!o.output.empty()) models::check_prunable(folder);
  if (!o.svg.empty()) io::OutputFile writable(o.svg);  // better refused now than after the measuring
  const look::ModelParts model(folder);
  if (o.text.empty() || !model.writer) ModelFlags::report(model.encoder->summary().warnings);  // else load() says them
  note("reading the texts");
  const auto task = task_of(o, model);
  const int heads = static_cast<int>(task->heads().size());
  if (o.rank.empty()) o.rank = task->has_slope() ? "importance" : "effect";
  if (o.keep >= heads) throw Error(fmt::format("--keep {}: the model has {} heads; keep fewer", o.keep, heads));
  look::PruneHow how{.keep = o.keep, .one_a_layer = model.writer == nullptr};
  how.rank = o.rank == "effect" ? look::RankBy::Effect : look::RankBy::Importance;
  const Stopwatch watch;
  const double effort = how.rank == look::RankBy::Effect ? heads / 2.0 * static_cast<double>(task->ranking())
                                                         : 3.0 * static_cast<double>(task->ranking());
  note(fmt::format("{} steps; each reads about {:.0f} texts", heads - o.keep,
                   effort + static_cast<double>(task->judged())));
  how.progress = [&](const PruneStep& step, int left) {
    const int done = heads - left;
    note(fmt::format("{} heads left, without {}: {:.2f}% · {} to go", left, name_of(step.removed),
                     100 * step.left.quality, duration(watch.seconds() / done * (left - o.keep))));
  };
  const PruneCurve curve = look::prune(*task, how);
  const int left = heads - static_cast<int>(curve.steps.size());
  if (!o.output.empty() && left > o.keep)
    throw Error(fmt::format("--keep {}: each of the layers keeps a head, so {} is the fewest; nothing was written",
                            o.keep, left));
  if (!o.output.empty()) write(o, folder, curve);
  if (!o.svg.empty()) io::write_file(o.svg, chart_svg(chart_of(o, *task, curve)));
  if (o.common.json) return print_json(to_json(o, *task, curve));
  print_curve(o, *task, curve);
  if (o.output.empty()) return;
  say(fmt::format("the model with {} heads is in {}", left, o.output), 2);
  suggest({{"fovea", "look", "--model", o.output, "The bank by the river was flooded"}});
}

Job declare_prune(Flags& flags) {
  auto o = std::make_shared<PruneOptions>();
  o->keep_given =
      flags
          .add_option(
              "--keep",
              [o](const std::string& n) { o->keep = static_cast<int>(number_of_flag("--keep", n, 0, 1'000'000)); },
              "how many heads to keep (default: down to none, or to one a layer)")
          ->type_name("N");
  flags
      .add_option("-o,--output", o->output,
                  "write the model without them to this folder (BERT's family has a format for it)")
      ->type_name("FOLDER");
  flags
      .add_option("--text", o->text,
                  "what the model is for: texts, one a line; every second one ranks heads, the others judge")
      ->type_name("FILE");
  flags
      .add_option("--rank", o->rank,
                  "what says which head goes next: its importance (the metric's slope; the default where there is one) "
                  "or its effect "
                  "(the loss without it, measured)")
      ->type_name("importance|effect")
      ->one_of({"importance", "effect"});
  flags
      .add_option(
          "--sentences",
          [o](const std::string& n) {
            o->sentences = static_cast<int>(number_of_flag("--sentences", n, 1, 1'000'000));
          },
          "judge by at most so many (of --text: read at most so many)")
      ->type_name("N");
  flags
      .add_option(
          "--rank-on",
          [o](const std::string& n) { o->rank_on = static_cast<int>(number_of_flag("--rank-on", n, 1, 100'000)); },
          "of the demo: rank by so many sentences (default 200)")
      ->type_name("N");
  flags
      .add_option(
          "--lose", [o](const std::string& n) { o->lose = static_cast<double>(number_of_flag("--lose", n, 0, 100)); },
          "say how many heads can go before quality falls by more than so many points (default 1)")
      ->type_name("POINTS");
  flags.add_option("--svg", o->svg, "a picture of quality against heads kept")->type_name("FILE");
  o->model.declare(flags, false);
  o->common.declare(flags);
  flags.footer(
      "Quality is exact match for a model that writes (the demo: on held-out sentences; with --text: with what the "
      "whole model "
      "writes), how often a masked-language model or a classifier answers as before, and otherwise the cosine of the "
      "text's vector "
      "with what it was. A pruned folder names its heads in config.json (pruned_heads) and holds shorter tensors; "
      "transformers "
      "reads it up to version 4.");
  return [o] { run(*o); };
}

}  // namespace

const Command kPrune{"prune", "takes heads out, the least needed first, and measures what is left",
                     "[--keep N -o FOLDER] [options]",
                     "  fovea prune\n"
                     "  fovea prune --rank effect --sentences 600 --svg curve.svg\n"
                     "  fovea prune --model build/models/minilm --text texts.txt --keep 40 -o build/40\n"
                     "  fovea prune --model path/to/bert --text texts.txt --json\n",
                     declare_prune};

}  // namespace fovea::cli
