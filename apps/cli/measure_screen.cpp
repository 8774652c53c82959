// What fovea measure shows a person: what was removed, three tiers and the control, and in words what they say.
#include "measure_screen.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

constexpr int kEffectBar = 12;

/// "bank (2)", "flooded (7–8)": a selector as the tokens that it means.
std::string named(const std::vector<int>& at, const std::vector<Token>& tokens) {
  std::string text;
  for (const int i : at) text += (text.empty() ? "" : " ") + tokens[static_cast<std::size_t>(i)].text;
  return at.size() == 1 ? fmt::format("{} ({})", text, at.front())
                        : fmt::format("{} ({}–{})", text, at.front(), at.back());
}

std::string removed_text(const MeasureOptions& o, const Run& run) {
  const auto query = [&](const std::string& word) { return named(run.find_query(word, o.kind), run.queries(o.kind)); };
  const auto key = [&](const std::string& word) { return named(run.find_key(word, o.kind), run.keys(o.kind)); };
  std::string what;
  for (const Cut& c : o.query.cuts)
    what += fmt::format("{}{} → {}", what.empty() ? "" : ", ", query(c.from), key(c.to));
  if (!o.query.values.empty()) what = "the values of " + key(o.query.values);
  if (!o.query.ablate.empty()) {
    std::vector<std::string> heads;
    for (const HeadAt& h : o.query.ablate) heads.push_back(fmt::format("{}·{}", h.layer, h.head));
    return fmt::format("Without head{} {}: {}", heads.size() == 1 ? "" : "s", fmt::join(heads, ", "),
                       o.query.mean ? "what it puts out is its mean" : "what it puts out is zero");
  }
  return fmt::format("Without {}, in {} and {}", what, list_text("layer", "layers", o.layers),
                     list_text("head", "heads", o.heads));
}

std::string metric_text(const Effect& e) {
  if (e.metric == "cosine_distance") return fmt::format("cosine distance; cosine 1 → {}", number_text(e.after, 3));
  return fmt::format("{}: {} → {}", e.metric == "log_odds" ? "log-odds" : "log-probability", number_text(e.before, 2),
                     number_text(e.after, 2));
}

void print_tiers(const Effect& e) {
  const double most = std::max(std::abs(e.effect), std::abs(e.control.mean));
  const auto share = [&](double x) { return bar(most > 0 ? std::abs(x) / most : 0, kEffectBar); };
  Table table(
      {{"", false, false, Ink::Bold}, {"", true}, {"", false, false, Ink::Accent}, {"", false, true, Ink::Dim}});
  const std::string local = std::isinf(e.local_effect) ? "all it had" : effect_number(e.local_effect);
  if (!std::isnan(e.weight))
    table.row(
        {"weight", fmt::format("{:.3f}", e.weight), bar(e.weight, kEffectBar), "where it looked, mean over the cut"});
  table.row({"local effect", local, "", "how attention's output moves: estimate"});
  if (!std::isnan(e.gradient_effect))
    table.row({"by the slope", effect_number(e.gradient_effect), share(e.gradient_effect),
               "the metric's slope along it: estimate"});
  table.row({"measured effect", effect_number(e.effect), share(e.effect), metric_text(e)});
  if (!std::isnan(e.kl))
    table.row({"KL", effect_number(e.kl), "",
               fmt::format("nats; Δlog p {}, Δlogit {}", effect_number(e.log_probability_effect),
                           effect_number(e.logit_effect))});
  if (e.control.draws > 0)
    table.row({"control", effect_number(e.control.mean), share(e.control.mean),
               fmt::format("± {}: {} random removals like it", effect_number(e.control.sd), e.control.draws)});
  for (const std::string& line : table.lines(terminal().width))
    if (line.find_first_not_of(' ') != line.npos) fmt::print("{}\n", line);
}

/// What the control's draws are.
const char* alike(const MeasureOptions& o) {
  return o.query.ablate.empty() ? "random removals of equal weight and similar distance in the same layers"
                                : "random sets of as many other heads";
}

void print_verdict(const MeasureOptions& o, const Effect& e) {
  const int draws = e.control.draws, as_much = draws - e.control.smaller;
  std::string few;
  if (draws < o.query.draws)
    few = fmt::format(" Of {} {}, there are {}.", o.query.draws, alike(o), draws == 0 ? "none" : std::to_string(draws));
  if (!e.output_before.empty() && o.writes)
    say(e.output_before == e.output_after ? "written anew without it: the same"
                                          : fmt::format("written anew without it: {}", e.output_after),
        4);
  else if (!e.output_before.empty())
    say(e.output_before == e.output_after ? fmt::format("answer: {}, as before", e.output_after)
                                          : fmt::format("answer: {}; before: {}", e.output_after, e.output_before),
        8);
  if (std::isnan(e.effect))
    say("not a number: the model's answer with it, or without it, holds NaN or infinity", 2, Ink::Warn);
  else if (e.measurable())
    say(fmt::format("measurable: larger than {} of {} {} (percentile {:.0f}).{}", e.control.smaller, draws, alike(o),
                    e.control.percentile(), few),
        2, Ink::Bold);
  else if (draws < 19)
    say(fmt::format("no measurable effect: too few removals like it to tell.{}", few), 2, Ink::Bold);
  else
    say(fmt::format("no measurable effect: {} of {} {} did as much (percentile {:.0f}).{}", as_much, draws, alike(o),
                    e.control.percentile(), few),
        2, Ink::Bold);
}

void print_next(const MeasureOptions& o, const Run& run) {
  if (!o.query.ablate.empty()) return suggest_next(o, run, {{"measure", {"--all", "heads"}}});
  const auto with = [&](std::vector<std::string> words) {
    if (!o.kind.empty()) words.insert(words.end(), {"--kind", o.kind});
    if (words.front() != "--measure" && !o.query.target.empty())
      words.insert(words.end(), {"--target", o.query.target});
    if (words.front() != "--measure" && !o.query.against.empty())
      words.insert(words.end(), {"--against", o.query.against});
    return words;
  };
  if (o.query.cuts.empty()) return suggest_next(o, run, {{"look", with({"--measure"})}});
  const Cut& first = o.query.cuts.front();
  suggest_next(
      o, run,
      {{"measure", with({"--values", first.to})}, {"measure", with({"--all", "pairs", "--token", first.from})}});
}

}  // namespace

std::string list_text(const char* one, const char* many, const std::vector<int>& list) {
  if (list.empty()) return fmt::format("all {}", many);
  return fmt::format("{} {}", list.size() == 1 ? one : many, fmt::join(list, ", "));
}

void suggest_next(const MeasureOptions& o, const Run& run,
                  const std::vector<std::pair<const char*, std::vector<std::string>>>& commands) {
  constexpr std::size_t kLongest = 200;
  if (run.text.size() > kLongest || run.text.find('\n') != std::string::npos) return;
  std::vector<std::vector<std::string>> lines;
  for (const auto& [name, more] : commands) {
    lines.push_back({"fovea", name, "--model", o.model.model, run.text});
    lines.back().insert(lines.back().end(), more.begin(), more.end());
  }
  suggest(lines);
}

void print_subject(const Run& run) {
  const models::Summary& m = run.model();
  say(fmt::format("{} · {} layers × {} heads of {} · {} tokens", m.family, m.layers, m.heads, m.head_dim,
                  run.tokens.size()),
      2, Ink::Dim);
  fmt::print("{}\n", fit(run.text, terminal().width));
  if (run.writes()) fmt::print("→ {}\n", fit(run.target_text(), terminal().width - 2));
  fmt::print("\n");
}

std::string effect_number(double effect) {
  const double size = std::abs(effect);
  if (std::isnan(effect)) return "–";
  if (size != 0 && size < 5e-5) return fmt::format("{:.0e}", effect);
  return fmt::format("{:.{}f}", effect, size < 1 ? 4 : 3);
}

void print_search(const Run& run, const std::string& kind, const Flip& flip) {
  say(flip.flipped ? "Cut one after the other, whatever lowers the log-odds most, until they turn"
                   : "Nothing found that turns the choice: what lowers the log-odds most, one after the other",
      2, Ink::Bold);
  Table table({{"cut", false, true, Ink::Accent}, {"log-odds without all so far", true}, {"", false, false, Ink::Dim}});
  for (const Flip::Step& s : flip.search) {
    const auto needed = std::ranges::any_of(
        flip.cuts, [&](const Cut& c) { return c.from == std::to_string(s.query) && c.to == std::to_string(s.key); });
    table.row({fmt::format("{} → {}", named({s.query}, run.queries(kind)), named({s.key}, run.keys(kind))),
               fmt::format("{:.2f}", s.after), needed ? "" : "not needed"});
  }
  table.print();
  fmt::print("\n");
}

void print_measure(const MeasureOptions& o, const Run& run, const Effect& effect, double seconds) {
  print_subject(run);
  say(removed_text(o, run), 2, Ink::Bold);
  print_tiers(effect);
  fmt::print("\n");
  print_verdict(o, effect);
  fmt::print("\n");
  say(fmt::format("cost: {} reruns from layer {} on, side by side: {}", 1 + effect.control.draws,
                  o.layers.empty() ? 0 : o.layers.front(), seconds_text(seconds)),
      6, Ink::Dim);
  print_next(o, run);
}

}  // namespace fovea::cli
