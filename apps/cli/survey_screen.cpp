// What fovea measure --all shows a person: how well weight tells effect, and where it doesn't.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include "chart.hpp"
#include "io/output_file.hpp"
#include "measure_screen.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

constexpr std::size_t kLargest = 4, kDisagreeing = 3;
constexpr int kRows = 6, kColumns = 50;  // of the scatter

/// What stands to the right of the scatter: weight, or what a head wrote.
double looked_of(const Survey::Item& x) { return x.query >= 0 ? x.weight : x.local_effect; }

/// Items as points: weight to the right, |effect| upward, both up to the largest that there is.
std::vector<std::string> scatter(const Survey& s) {
  double widest = 0, highest = 0;
  for (const Survey::Item& x : s.items) {
    widest = std::max(widest, looked_of(x));
    highest = std::max(highest, std::abs(x.effect));
  }
  std::vector<std::vector<int>> count(kRows, std::vector<int>(kColumns));
  const auto cell = [](double x, double most, int cells) {
    return most > 0 ? static_cast<std::size_t>(std::min(cells - 1.0, std::floor(x / most * cells))) : std::size_t{0};
  };
  for (const Survey::Item& x : s.items)
    if (std::isfinite(x.effect))
      ++count[cell(std::abs(x.effect), highest, kRows)][cell(looked_of(x), widest, kColumns)];
  std::vector<std::string> lines;
  for (std::size_t row = kRows; row-- > 0;) {
    std::string line = row + 1 == kRows ? fmt::format("  {:>7} │", effect_number(highest)) : "          │";
    for (const int n : count[row]) line += n == 0 ? " " : n == 1 ? "·" : n < 5 ? "•" : "●";
    lines.push_back(line);
  }
  std::string axis = "        0 └";
  for (int i = 0; i < kColumns; ++i) axis += "─";
  lines.push_back(axis);
  lines.push_back(fmt::format("  |effect|  {} 0 to {:.3f}; · one, • two to four, ● more",
                              s.items.empty() || s.items.front().query >= 0 ? "weight" : "what the head wrote",
                              widest));
  return lines;
}

/// One table with three groups of rows: three tables would not fit a screen.
class Items {
 public:
  Items(const Run& run, const std::string& kind, const Survey& survey)
      : queries_(run.queries(kind)),
        keys_(run.keys(kind)),
        survey_(survey),
        links_(survey.items.empty() || survey.items.front().query >= 0),
        heads_(!survey.items.empty() && survey.items.front().layer >= 0),
        table_(columns()) {}
  void add(const std::string& why, const std::vector<std::size_t>& which, std::size_t most) {
    if (which.empty()) table_.row({why, "none"});
    std::string group = why;  // on its first row alone
    for (const std::size_t i : std::span(which).first(std::min(most, which.size()))) {
      const Survey::Item& x = survey_.items[i];
      std::vector<std::string> row{group};
      if (links_)
        row.insert(row.end(), {fmt::format("{} ({})", text(queries_, x.query), x.query),
                               fmt::format("→ {} ({})", text(keys_, x.key), x.key)});
      if (heads_) row.push_back(fmt::format("{}·{}", x.layer, x.head));
      row.insert(row.end(), {fmt::format("{:.3f}", looked_of(x)), effect_number(x.effect)});
      table_.row(row);
      group.clear();
    }
  }
  void print() const { table_.print(); }

 private:
  static const std::string& text(const std::vector<Token>& tokens, int position) {
    return tokens[static_cast<std::size_t>(position)].text;
  }
  std::vector<Table::Column> columns() const {
    std::vector<Table::Column> c{{"", false, false, Ink::Bold}};
    if (links_) c.insert(c.end(), {{"from", false, true}, {"to", false, true}});
    if (heads_) c.push_back({"head", true, false, Ink::Accent});
    c.insert(c.end(), {{links_ ? "weight" : "wrote", true}, {"effect", true}});
    return c;
  }
  const std::vector<Token>&queries_, &keys_;
  const Survey& survey_;
  bool links_, heads_;
  Table table_;
};

std::string title(const MeasureOptions& o, const Survey& s) {
  const std::string where =
      fmt::format("{} and {}", list_text("layer", "layers", o.layers), list_text("head", "heads", o.heads));
  if (o.all != "heads")
    return fmt::format("Weight against effect: {} {}, each alone, in {}", s.items.size(), o.all, where);
  return fmt::format("What each head does: {} heads, each silenced alone (its output {}), in {}", s.items.size(),
                     o.query.mean ? "its mean" : "zero", where);
}

std::string correlation_text(const MeasureOptions& o, const Survey& s) {
  const char* metric = s.metric == "cosine_distance" ? "cosine distance"
                       : s.metric == "log_odds"      ? "log-odds"
                                                     : "log-probability";
  std::string what = o.all == "heads"
                         ? fmt::format("what it wrote {:.2f}", s.local_correlation)
                         : fmt::format("weight {:.2f}, local effect {:.2f}", s.weight_correlation, s.local_correlation);
  if (!std::isnan(s.gradient_correlation)) what += fmt::format(", by the slope {:.2f}", s.gradient_correlation);
  return fmt::format("rank correlation with the size of the effect ({}): {}", metric, what);
}

}  // namespace

void write_scatter(const MeasureOptions& o, const Run& run, const Survey& survey) {
  const bool heads = o.all == "heads";
  Series all{o.all, {}, Series::Style::Dots},
      idle{heads ? "much written, little effect" : "much weight, little effect", {}, Series::Style::Dots},
      light{heads ? "little written, much effect" : "little weight, much effect", {}, Series::Style::Dots};
  const auto point = [&](std::size_t i) {
    return std::pair(looked_of(survey.items[i]), std::abs(survey.items[i].effect));
  };
  for (std::size_t i = 0; i < survey.items.size(); ++i) all.points.push_back(point(i));
  for (const std::size_t i : std::span(survey.idle).first(std::min(kDisagreeing, survey.idle.size())))
    idle.points.push_back(point(i));
  for (const std::size_t i : std::span(survey.light).first(std::min(kDisagreeing, survey.light.size())))
    light.points.push_back(point(i));
  Chart chart;
  chart.title = run.text.size() > 80 ? title(o, survey) : fmt::format("{} — {}", run.text, correlation_text(o, survey));
  chart.x_label = heads ? "what the head wrote" : "weight";
  chart.y_label = fmt::format("|effect| ({})", survey.metric);
  chart.series = {all, idle, light};
  io::write_file(o.svg, chart_svg(chart));
}

void print_survey(const MeasureOptions& o, const Run& run, const Survey& survey, double seconds) {
  print_subject(run);
  const std::size_t n = survey.items.size();
  say(title(o, survey), 2, Ink::Bold);
  for (const std::string& line : scatter(survey)) fmt::print("{}\n", line);
  say(correlation_text(o, survey), 2);
  fmt::print("\n");
  std::vector<std::size_t> largest(n);
  std::iota(largest.begin(), largest.end(), std::size_t{0});
  Items items(run, o.kind, survey);
  items.add("most effect", largest, kLargest);
  const char* looked = o.all == "heads" ? "written" : "weight";
  items.add(fmt::format("much {}, little effect", looked), survey.idle, kDisagreeing);
  items.add(fmt::format("little {}, much effect", looked), survey.light, kDisagreeing);
  items.print();
  const char* control = o.all == "heads" ? "" : ": --cut says whether one is measurable";
  say(fmt::format("cost: {} reruns, {}. No control beside these{}.", n, seconds_text(seconds), control), 6, Ink::Dim);
  if (n == 0) return;
  const Survey::Item& top = survey.items.front();
  if (top.query < 0)
    return suggest_next(
        o, run, {{"look", {"--layer", std::to_string(top.layer), "--head", std::to_string(top.head), "--measure"}}});
  std::vector<std::string> cut{"--cut", fmt::format("{}:{}", top.query, top.key)};
  if (!o.kind.empty()) cut.insert(cut.end(), {"--kind", o.kind});
  if (!o.query.target.empty()) cut.insert(cut.end(), {"--target", o.query.target});
  if (!o.query.against.empty()) cut.insert(cut.end(), {"--against", o.query.against});
  if (top.layer >= 0) cut.insert(cut.end(), {"--layer", std::to_string(top.layer), "--head", std::to_string(top.head)});
  suggest_next(o, run, {{"measure", cut}});
}

}  // namespace fovea::cli
