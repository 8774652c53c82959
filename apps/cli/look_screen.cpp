// What fovea look shows a person: one screen of 80 × 30, with more columns where the terminal has room for them.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "alignment_table.hpp"
#include "core/utf8.hpp"
#include "look.hpp"
#include "measure_screen.hpp"
#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

constexpr std::size_t kHeads = 6;  // rows of the first table
constexpr int kWide = 120;         // columns from which there is room for more

std::string head_name(int layer, int head) { return fmt::format("{}·{}", layer, head); }
std::string percent(double share) { return std::isnan(share) ? "–" : fmt::format("{:.0f}%", 100 * share); }

/// The special tokens of the text, each once: "[CLS] and [SEP]".
std::string special_names(const std::vector<Token>& tokens) {
  std::vector<std::string> names;
  for (const Token& t : tokens)
    if (t.special && std::find(names.begin(), names.end(), t.text) == names.end()) names.push_back(t.text);
  std::string all;
  for (std::size_t i = 0; i < names.size(); ++i)
    all += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
  return all;
}

/// The text around bytes [begin, end), within `width` columns; what is cut off shows as ….
std::string excerpt(const std::string& text, int begin, int end, int width) {
  const std::string before = printable(std::string_view(text).substr(0, static_cast<std::size_t>(begin)));
  const std::string word =
      printable(std::string_view(text).substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
  const std::string after = printable(std::string_view(text).substr(static_cast<std::size_t>(end)));
  const int room = std::max(0, width - display_width(word));
  // Half of the room for each side, and what one side leaves for the other.
  const int left = std::max(room / 2, room - display_width(after));
  std::string tail = before;
  if (display_width(tail) > left) {
    std::string_view rest = before;
    while (!rest.empty() && display_width(rest) > left - 1) next_code_point(rest);
    tail = left > 0 ? "…" + std::string(rest) : "";
  }
  const std::string front = fit(after, room - display_width(tail));
  return tail + paint(Ink::Bold, fit(word, width)) + front;
}

void print_text(const Run& run, const Findings& found) {
  const models::Summary& m = run.model();
  say(fmt::format("{} · {} layers × {} heads of {} · {} tokens", m.family, m.layers, m.heads, m.head_dim,
                  run.tokens.size()),
      2, Ink::Dim);
  const std::vector<Token>& queries = run.queries(found.kind);
  int begin = 0, end = 0;
  if (!found.queries.empty()) {
    begin = queries[static_cast<std::size_t>(found.queries.front())].begin;
    end = queries[static_cast<std::size_t>(found.queries.back())].end;
  }
  const auto line = [&](const std::string& text, bool marked, int width) {
    return excerpt(text, marked ? begin : 0, marked ? std::max(begin, end) : 0, width);
  };
  const bool of_text = found.kind == "encoder";  // where the queries stand
  fmt::print("{}\n", line(run.text, of_text, terminal().width));
  if (run.writes()) fmt::print("→ {}\n", line(run.target_text(), !of_text, terminal().width - 2));
  fmt::print("\n");
}

void print_heads(const LookOptions& o, const Run& run, const Findings& found) {
  std::vector<HeadView> heads;
  for (const HeadView& view : found.heads)
    if (view.statistics.kind == found.kind) heads.push_back(view);
  rank_heads(heads);
  const std::size_t shown = std::min(heads.size(), kHeads);
  const bool wide = terminal().width >= kWide;
  say(fmt::format("{} worth a look ({} of {}; layer·head, from 0)",
                  found.kind == "cross"     ? "Cross-attention heads"
                  : found.kind == "decoder" ? "Decoder heads"
                                            : "Heads",
                  shown, heads.size()),
      2, Ink::Bold);
  const bool scored = o.importance || o.induction, all = wide || !scored;  // what there is room for
  std::vector<Table::Column> columns{{"head", true, false, Ink::Accent}, {"looks at"}};
  if (all) columns.push_back({""});
  columns.insert(columns.end(), {{"previous", true}, {"first", true}, {"special", true}});
  if (all) columns.push_back({"distance", true});
  if (wide) columns.insert(columns.end(), {{"self", true}, {"next", true}, {"confidence", true}, {"entropy", true}});
  if (o.importance) columns.push_back({"importance", true});
  if (o.induction) columns.push_back({"induction", true});
  columns.push_back({"mostly"});
  Table table(columns);
  const double most = std::log(static_cast<double>(std::max<std::size_t>(run.keys(found.kind).size(), 2)));
  for (std::size_t i = 0; i < shown; ++i) {
    const HeadStatistics& s = heads[i].statistics;
    std::vector<std::string> row{head_name(s.layer, s.head), std::isnan(s.entropy)
                                                                 ? "not a number"
                                                                 : fmt::format("≈ {:.1f} tokens", std::exp(s.entropy))};
    const auto add = [&](bool there, std::vector<std::string> cells) {
      if (there) row.insert(row.end(), cells.begin(), cells.end());
    };
    add(all, {bar(s.entropy / most, 8)});
    add(true, {percent(s.previous), percent(s.sink), percent(s.special)});
    add(all, {fmt::format("{:.1f}", s.distance)});
    add(wide, {percent(s.self), percent(s.next), number_text(s.confidence, 2),
               std::isnan(s.entropy) ? "–" : fmt::format("{:.2f} nats", s.entropy)});
    add(o.importance, {fmt::format("{:.3f}", heads[i].importance)});
    add(o.induction, {std::isnan(heads[i].induction) ? "–" : percent(heads[i].induction)});  // of cross-attention none
    add(true, {heads[i].name()});
    table.row(row);
  }
  table.print();
  fmt::print("\n");
}

std::string effect_text(double effect) { return std::isinf(effect) ? "all it had" : fmt::format("{:.3f}", effect); }

void print_links(const LookOptions& o, const Run& run, const Findings& found) {
  const auto query = [&](int i) -> const Token& { return run.queries(found.kind)[static_cast<std::size_t>(i)]; };
  const auto token = [&](int i) -> const Token& { return run.keys(found.kind)[static_cast<std::size_t>(i)]; };
  const bool wide = terminal().width >= kWide, one = found.queries.size() == 1;
  const std::string specials = special_names(run.keys(found.kind));
  const std::string title =
      one ? fmt::format("What {} (token {}) looks at", query(found.queries.front()).text, found.queries.front())
      : o.token.empty() ? "The strongest links"
                        : fmt::format("What the tokens of {} look at", o.token);
  const std::string without =
      o.special || specials.empty() ? "" : fmt::format("; {} left out, --special shows them", specials);
  say(fmt::format("{} (the {} strongest{})", title, found.links.size(), without), 2, Ink::Bold);
  std::vector<Table::Column> columns;
  if (!one) columns.insert(columns.end(), {{"query", false, true}, {"#", true, false, Ink::Dim}});
  columns.insert(columns.end(), {{"key", false, true, Ink::Bold},
                                 {"#", true, false, Ink::Dim},
                                 {"head", true, false, Ink::Accent},
                                 {"weight", true},
                                 {"", false, false, Ink::Accent},
                                 {"lift", true},
                                 {"local effect", true}});
  const bool measured = !found.effects.empty();
  if (measured) columns.insert(columns.end(), {{"measured", true}, {""}});
  if (wide) columns.push_back({"norm-weighted", true});
  Table table(columns);
  for (std::size_t i = 0; i < found.links.size(); ++i) {
    const Link& l = found.links[i];
    const Token& key = token(l.key);
    std::vector<std::string> row;
    if (!one) row = {query(l.query).text, std::to_string(l.query)};
    const std::vector<std::string> cells{key.text,
                                         std::to_string(l.key),
                                         head_name(l.layer, l.head),
                                         fmt::format("{:.3f}", l.weight),
                                         bar(l.weight, wide       ? 40
                                                       : measured ? 6
                                                                  : 12),
                                         fmt::format("{:.1f}×", l.lift),
                                         effect_text(l.local_effect)};
    row.insert(row.end(), cells.begin(), cells.end());
    if (measured) {
      const Effect& e = found.effects[i];
      row.insert(row.end(), {effect_number(e.effect), std::isnan(e.effect) ? "all it sees"
                                                      : e.measurable()     ? ""
                                                                           : "noise"});
    }
    if (wide) row.push_back(fmt::format("{:.3f}", l.norm_weighted));
    table.row(row);
  }
  table.print();
  if (measured)
    say(fmt::format("measured: {} when the link is cut and the model run again; noise: no measurable effect, random "
                    "cuts like it do as much",
                    found.effects.front().metric == "cosine_distance" ? "cosine distance of the query's final vector"
                    : run.writes()                                    ? "fall in log-probability of what was written"
                                                                      : "fall in log-probability of the answer"),
        2, Ink::Dim);
  fmt::print("\n");
}

void print_proof(const Run& run, const Findings& found) {
  const auto heads = std::ranges::count(found.heads, found.kind, [](const HeadView& v) { return v.statistics.kind; });
  const auto rows = static_cast<std::int64_t>(run.queries(found.kind).size()) * heads;
  if (std::isnan(run.max_abs_error(found.kind)))
    return say("proof: none: some of what the kernel produced is not a number, and so are weights shown", 7, Ink::Warn);
  say(fmt::format(
          "proof: shown weights are within {:.1e} of the output the kernel produced (max |ΣA·v − o| over {} rows)",
          run.max_abs_error(found.kind), count_text(rows)),
      7);
}

/// Commands that lead on from here; none where the text came by a pipe and could not be pasted again.
void print_next(const LookOptions& o, const Run& run, const Findings& found) {
  constexpr std::size_t kLongest = 200;
  if (found.links.empty() || run.text.size() > kLongest || run.text.find('\n') != std::string::npos) return;
  const Link& top = found.links.front();
  std::vector<std::string> base{"fovea", "look", "--model", o.model.model, run.text};
  if (!o.kind.empty()) base.insert(base.end(), {"--kind", o.kind});
  const auto with = [&base](std::initializer_list<std::string> more) {
    std::vector<std::string> command = base;
    command.insert(command.end(), more);
    return command;
  };
  if (o.token.empty())
    return suggest({with({"--token", std::to_string(top.query)}),
                    run.writes() && o.kind.empty() ? with({"--kind", "cross"}) : with({"--json"})});
  if (run.writes() && found.kind != "encoder")
    return suggest({with({"--measure", "--token", std::to_string(top.query)}),
                    with({"--layer", std::to_string(top.layer), "--head", std::to_string(top.head)})});
  suggest({with({"--token", std::to_string(top.key)}),
           with({"--layer", std::to_string(top.layer), "--head", std::to_string(top.head)})});
}

}  // namespace

void print_look(const LookOptions& o, const Run& run, const Findings& found) {
  print_text(run, found);
  if (found.kind == "cross" && o.token.empty() && !o.measure && !o.importance && o.top == 0) {
    constexpr std::size_t kWords = 16;  // what a screen has room for in the place of heads and links
    say("What each written word looks at (last layer, mean over heads)", 2, Ink::Bold);
    print_alignment(run.tokens, run.target_tokens(), run.alignment(), kWords);
  } else {
    print_heads(o, run, found);
    print_links(o, run, found);
  }
  print_proof(run, found);
  print_next(o, run, found);
}

}  // namespace fovea::cli
