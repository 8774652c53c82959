// fovea study bottleneck: translation by sentence length, without attention, with additive attention, and by a
// Transformer.
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/encoder_decoder.hpp"
#include "study.hpp"
#include "table.hpp"
#include "train/bottleneck.hpp"

namespace fovea::cli {
namespace {

struct Outcome {
  train::Contender contender;
  Learnt learnt;
  std::int64_t parameters = 0;
  std::vector<train::LengthScore> scores;
};

double percent(const train::LengthScore& s) { return 100.0 * s.exact / std::max(s.sentences, 1); }

Outcome outcome_of(const StudyOptions& o, const train::BottleneckSettings& settings, const train::Contender& c) {
  const std::filesystem::path folder = o.place() / c.key;
  Outcome outcome{c, learn(c.name, c.recipe, c.recipe_text, folder), 0, {}};
  const auto model = models::load_encoder_decoder(folder);  // as it lies there
  outcome.parameters = model->summary().parameters;
  outcome.scores = train::score_by_length(
      *model, settings, [&](const train::LengthScore& s) { note(fmt::format("{}: scored {}", c.name, s.set)); });
  return outcome;
}

Json to_json(const Outcome& r) {
  const train::Recipe& recipe = r.contender.recipe;
  Json model{{"name", r.contender.name},
             {"family", recipe.recurrent ? "recurrent" : "marian"},
             {"attention", !recipe.recurrent             ? "dot-product"
                           : recipe.recurrent->attention ? "additive"
                                                         : "none"},
             {"width", recipe.recurrent ? recipe.recurrent->width : recipe.model.width},
             {"parameters", r.parameters}};
  if (r.learnt.now) model["loss"] = r.learnt.loss, model["seconds"] = std::round(r.learnt.seconds);
  for (const train::LengthScore& s : r.scores)
    model["by_length"].push_back({{"set", s.set},
                                  {"words", std::round(10 * s.words) / 10},
                                  {"trained", s.trained},
                                  {"sentences", s.sentences},
                                  {"exact", s.exact},
                                  {"exact_percent", std::round(10 * percent(s)) / 10},
                                  {"bleu", std::round(10 * s.bleu) / 10}});
  return model;
}

double bleu_of(const train::LengthScore& s) { return s.bleu; }

Chart chart_of(const std::vector<Outcome>& outcomes, const train::BottleneckSettings& settings, const char* title,
               const char* y_label, double (*value)(const train::LengthScore&)) {
  Chart chart{.title = title,
              .x_label = fmt::format("English words; learnt from up to {}", train::longest_trained(settings)),
              .y_label = y_label,
              .right_label = {},
              .series = {},
              .y_range = {{0, 100}}};
  for (const Outcome& r : outcomes) {
    Series series{.name = r.contender.name, .points = {}};
    for (const train::LengthScore& s : r.scores) series.points.emplace_back(s.words, value(s));
    chart.series.push_back(std::move(series));
  }
  return chart;
}

void print_table(const std::vector<Outcome>& outcomes) {
  std::vector<Table::Column> columns{{"words", true}, {"", false, false, Ink::Dim}};
  for (const Outcome& r : outcomes) {
    columns.push_back({r.contender.key + " %", true});
    columns.push_back({"BLEU", true, false, Ink::Dim});
  }
  Table table(columns);
  for (std::size_t i = 0; i < outcomes.front().scores.size(); ++i) {
    const train::LengthScore& first = outcomes.front().scores[i];
    std::vector<std::string> row{fmt::format("{:.0f}", first.words), first.trained ? "" : "not trained"};
    for (const Outcome& r : outcomes) {
      row.push_back(fmt::format("{:.1f}", percent(r.scores[i])));
      row.push_back(fmt::format("{:.1f}", r.scores[i].bleu));
    }
    table.row(row);
  }
  table.print();
  fmt::print("\n");
}

}  // namespace

void study_bottleneck(const StudyOptions& o) {
  if (o.every) throw UsageError("--every is of learning; bottleneck scores models when they are done");
  train::BottleneckSettings settings{.quick = o.quick, .steps = o.steps.value_or(0)};
  settings.sentences = o.sentences.value_or(0);
  if (o.seed) settings.seed = static_cast<std::uint64_t>(*o.seed);
  std::vector<Outcome> outcomes;
  for (const train::Contender& c : train::contenders(settings)) outcomes.push_back(outcome_of(o, settings, c));
  const std::int64_t steps = outcomes.front().contender.recipe.schedule.steps;
  const std::array charts{
      chart_of(outcomes, settings, "Exact translations by sentence length", "sentences translated exactly, %", percent),
      chart_of(outcomes, settings, "BLEU by sentence length", "BLEU", bleu_of)};
  if (o.common.json) {
    Json models = Json::array();
    for (const Outcome& r : outcomes) models.push_back(to_json(r));
    print_json({{"study", "bottleneck"},
                {"quick", o.quick},
                {"budget", {{"same", "steps, and the batches they learn from"}, {"steps", steps}}},
                {"longest_trained", train::longest_trained(settings)},
                {"models", std::move(models)}});
  } else {
    print_table(outcomes);
  }
  show_charts(o, charts);
  if (o.common.json) return;
  for (const Outcome& r : outcomes)
    say(fmt::format("{}: {}, {} parameters, {} steps{}", r.contender.key, r.contender.name, count_text(r.parameters),
                    steps, r.learnt.now ? fmt::format(", loss {:.3f}", r.learnt.loss) : std::string()));
  say(fmt::format("%: translated exactly. Every model took the same steps over the same batches. They are in {}.",
                  o.place().string()));
}

}  // namespace fovea::cli
