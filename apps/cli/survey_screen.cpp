// What fovea measure --all shows a person: how well weight tells effect, and where it doesn't.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include "measure_screen.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

constexpr std::size_t kLargest = 4, kDisagreeing = 3;
constexpr int kRows = 6, kColumns = 50;  // of the scatter

/// Items as points: weight to the right, |effect| upward, both up to the largest that there is.
std::vector<std::string> scatter(const Survey& s) {
  double widest = 0, highest = 0;
  for (const Survey::Item& x : s.items)
    widest = std::max(widest, x.weight), highest = std::max(highest, std::abs(x.effect));
  std::vector<std::vector<int>> count(kRows, std::vector<int>(kColumns));
  const auto cell = [](double x, double most, int cells) {
    return most > 0 ? static_cast<std::size_t>(std::min(cells - 1.0, std::floor(x / most * cells))) : std::size_t{0};
  };
  for (const Survey::Item& x : s.items)
    if (std::isfinite(x.effect)) ++count[cell(std::abs(x.effect), highest, kRows)][cell(x.weight, widest, kColumns)];
  std::vector<std::string> lines;
  for (std::size_t row = kRows; row-- > 0;) {
    std::string line = row + 1 == kRows ? fmt::format("  {:>7} │", effect_number(highest)) : "          │";
    for (const int n : count[row]) line += n == 0 ? " " : n == 1 ? "·" : n < 5 ? "•" : "●";
    lines.push_back(line);
  }
  std::string axis = "        0 └";
  for (int i = 0; i < kColumns; ++i) axis += "─";
  lines.push_back(axis);
  lines.push_back(fmt::format("  |effect|  weight 0 to {:.3f}; · one, • two to four, ● more", widest));
  return lines;
}

/// Tables side by side would not fit 80 columns: one, with a heading row for each group.
class Items {
 public:
  Items(const Run& run, const Survey& survey)
      : run_(run),
        survey_(survey),
        edges_(!survey.items.empty() && survey.items.front().layer >= 0),
        table_(columns()) {}
  void add(const std::string& why, const std::vector<std::size_t>& which, std::size_t most) {
    std::string group = why;  // on its first row alone
    for (const std::size_t i : std::span(which).first(std::min(most, which.size()))) {
      const Survey::Item& x = survey_.items[i];
      std::vector<std::string> row{group, fmt::format("{} ({})", text(x.query), x.query),
                                   fmt::format("→ {} ({})", text(x.key), x.key)};
      if (edges_) row.push_back(fmt::format("{}·{}", x.layer, x.head));
      row.insert(row.end(), {fmt::format("{:.3f}", x.weight), effect_number(x.effect)});
      table_.row(row);
      group.clear();
    }
  }
  void print() const { table_.print(); }

 private:
  const std::string& text(int position) const { return run_.tokens[static_cast<std::size_t>(position)].text; }
  std::vector<Table::Column> columns() const {
    std::vector<Table::Column> c{{"", false, false, Ink::Bold}, {"from", false, true}, {"to", false, true}};
    if (edges_) c.push_back({"head", true, false, Ink::Accent});
    c.insert(c.end(), {{"weight", true}, {"effect", true}});
    return c;
  }
  const Run& run_;
  const Survey& survey_;
  bool edges_;
  Table table_;
};

}  // namespace

void print_survey(const MeasureOptions& o, const Run& run, const Survey& survey, double seconds) {
  print_subject(run);
  const std::size_t n = survey.items.size();
  say(fmt::format("Weight against effect: {} {}, each alone, in {} and {}", n, o.all,
                  list_text("layer", "layers", o.layers), list_text("head", "heads", o.heads)),
      2, Ink::Bold);
  for (const std::string& line : scatter(survey)) fmt::print("{}\n", line);
  const std::string metric = survey.metric == "cosine_distance" ? "cosine distance"
                             : survey.metric == "log_odds"      ? "log-odds"
                                                                : "log-probability";
  say(fmt::format("rank correlation with the size of the effect ({}): weight {:.2f}, local effect {:.2f}", metric,
                  survey.weight_correlation, survey.local_correlation),
      2);
  fmt::print("\n");
  std::vector<std::size_t> largest(n);
  std::iota(largest.begin(), largest.end(), std::size_t{0});
  Items items(run, survey);
  items.add("most effect", largest, kLargest);
  items.add("much weight, little effect", survey.idle, kDisagreeing);
  items.add("little weight, much effect", survey.light, kDisagreeing);
  items.print();
  say(fmt::format("cost: {} reruns, {}. No control beside these: --cut says whether one is measurable.", n,
                  seconds_text(seconds)),
      6, Ink::Dim);
  if (n > 0) {
    const Survey::Item& top = survey.items.front();
    std::vector<std::string> cut{"--cut", fmt::format("{}:{}", top.query, top.key)};
    if (top.layer >= 0)
      cut.insert(cut.end(), {"--layer", std::to_string(top.layer), "--head", std::to_string(top.head)});
    suggest_next(o, run, {{"measure", cut}});
  }
}

}  // namespace fovea::cli
