// fovea look: runs a model on a text and shows what attended to what.
#include "look.hpp"

#include <cmath>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alignment_table.hpp"
#include "attention_flags.hpp"
#include "core/stopwatch.hpp"
#include "look/export.hpp"
#include "look_page.hpp"
#include "models/encoder.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

constexpr int kLinks = 8;  // what a screen of 24 lines has room for, below the heads

Json measured_json(const Effect& e) {
  return {{"metric", e.metric},
          {"effect", e.effect},
          {"control_mean", e.control.mean},
          {"control_sd", e.control.sd},
          {"percentile", e.control.percentile()},
          {"draws", e.control.draws}};
}

}  // namespace

Json look_json(const Run& run, const Findings& found) {
  const models::Summary& m = run.model();
  Json heads = Json::array(), links = Json::array();
  for (const HeadView& view : found.heads) {
    const HeadStatistics& s = view.statistics;
    heads.push_back({{"kind", s.kind},
                     {"layer", s.layer},
                     {"head", s.head},
                     {"entropy", s.entropy},
                     {"confidence", s.confidence},
                     {"sink", s.sink},
                     {"distance", s.distance},
                     {"previous", s.previous},
                     {"normalised_entropy", s.normalised_entropy},
                     {"special", s.special},
                     {"self", s.self},
                     {"next", s.next},
                     {"name", view.name()}});
    if (!std::isnan(view.importance)) heads.back()["importance"] = view.importance;
    if (!std::isnan(view.induction)) heads.back()["induction"] = view.induction;
  }
  for (std::size_t i = 0; i < found.links.size(); ++i) {
    const Link& l = found.links[i];
    links.push_back({{"kind", l.kind},
                     {"layer", l.layer},
                     {"head", l.head},
                     {"query", l.query},
                     {"key", l.key},
                     {"weight", l.weight},
                     {"lift", l.lift},
                     {"norm_weighted", l.norm_weighted},
                     {"local_effect", l.local_effect}});
    if (!found.effects.empty()) links.back()["measured"] = measured_json(found.effects[i]);
  }
  Json json{{"model",
             {{"family", m.family},
              {"layers", m.layers},
              {"heads", m.heads},
              {"kv_heads", m.kv_heads},
              {"head_dim", m.head_dim}}},
            {"tokens", tokens_json(run.tokens)}};
  if (run.writes())
    json.update(
        {{"target_tokens", tokens_json(run.target_tokens())}, {"target_inputs", tokens_json(run.target_inputs())}});
  json.update({{"heads", heads}, {"links", links}});
  if (run.writes()) json["alignment"] = alignment_json(run.alignment());
  json["proof"]["max_abs_error"] = found.max_abs_error;
  if (run.writes())
    for (const char* kind : {"encoder", "decoder", "cross"}) json["proof"][kind] = run.max_abs_error(kind);
  return json;
}

Findings look_into(const LookOptions& o, const Model& model, const Run& run) {
  Findings f;
  f.kind = o.kind.empty() ? run.layers().front().kind : o.kind;
  if (!o.token.empty()) f.queries = run.find_query(o.token, f.kind);
  LinkQuery query;
  query.token = o.token;
  query.top = o.top > 0 ? o.top : kLinks;
  query.layers = o.layers, query.heads = o.heads, query.kind = o.kind;
  query.skip_special = !o.special;
  f.links = run.links(query);
  if (o.measure) f.effects = run.measure(f.links);
  f.heads = view_heads(run, o.kind, o.layers, o.heads);
  if (o.importance) keep_importance(f.heads, run.importance());
  if (o.induction) keep_induction(f.heads, model.induction());
  f.max_abs_error = run.max_abs_error(o.kind);
  return f;
}

void look_after(const Common& common, const ModelFlags& flags, const Model& model, const std::string& text,
                const std::string& token, Json* json) {
  LookOptions o;
  o.common = common, o.model = flags, o.text = text, o.token = token, o.special = common.json;
  const Run run = flags.run(model, text);
  const Findings found = look_into(o, model, run);
  if (json) {
    (*json)["look"] = look_json(run, found);
    return;
  }
  fmt::print("\n");
  print_look(o, run, found);
}

namespace {

/// "A:B" → [A, B), within the tokens; all of them when absent.
Range rows_of(const std::string& text, int tokens) {
  if (text.empty()) return {0, tokens};
  const std::size_t colon = text.find(':');
  if (colon == text.npos) throw UsageError(fmt::format("--rows {}: expected A:B, the queries A to B−1", text));
  constexpr int kMost = 1 << 30;
  const auto begin = static_cast<int>(number_of_flag("--rows", text.substr(0, colon), 0, kMost, text));
  const auto end = static_cast<int>(number_of_flag("--rows", text.substr(colon + 1), 0, kMost, text));
  if (begin >= end || end > tokens)
    throw Error(fmt::format("--rows {}: expected A:B with 0 ≤ A < B ≤ {}, the queries that there are", text, tokens));
  return {begin, end};
}

void export_run(const LookOptions& o, const Run& run) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // beyond it, --force
  const Range rows = rows_of(o.rows, look::exported_queries(run, o.kind));
  const std::int64_t bytes = look::export_bytes(run, rows, o.kind);
  if (bytes > kMost && !o.force) {
    const int fit = look::queries_within(run, kMost, o.kind);
    const std::string advice =
        fit > 0 ? fmt::format("--rows {}:{} would fit", rows.begin, rows.begin + fit) : "not even one row would fit";
    throw Error(fmt::format("--export would write {} ({} bytes), more than 1 GiB; {}, or insist with --force",
                            bytes_text(static_cast<double>(bytes)), bytes, advice));
  }
  look::export_run(run, rows, o.export_file, o.kind);
  note(fmt::format("wrote {}", o.export_file));
}

/// What every edge on the page does, each cut alone: for the model that is part of the program, which takes a second or
/// two, and for others with --measure. `one_run` is how long the model took.
void survey_edges(const LookOptions& o, const Run& run, double one_run, Findings& f) {
  constexpr std::size_t kMost = std::size_t{1} << 18;  // tokens to run
  if (o.html_file.empty() || !(o.measure || o.model.model == "demo")) return;
  std::map<std::string, std::size_t> edges;  // by kind; as many as no mask hides, at most
  for (const HeadView& view : f.heads)
    edges[view.statistics.kind] += run.queries(view.statistics.kind).size() * run.keys(view.statistics.kind).size();
  std::size_t all = 0;
  for (const auto& [kind, count] : edges) all += count;
  const std::size_t tokens = run.tokens.size() + run.target_tokens().size();
  if (all > kMost / tokens)
    return note(fmt::format("{} edges are too many to measure each: the page has estimates of their effects alone",
                            count_text(static_cast<std::int64_t>(all))));
  note(fmt::format("measuring up to {} edges for the page, each cut alone: about {} at most",
                   count_text(static_cast<std::int64_t>(all)), duration(one_run * static_cast<double>(all))));
  for (const auto& [kind, count] : edges)
    f.surveys.emplace_back(
        kind, run.survey({.unit = SurveyQuery::Unit::Edges, .layers = o.layers, .heads = o.heads, .kind = kind}));
}

void run_look(LookOptions& o, const Flag& text) {
  o.read();
  if (o.export_file.empty() && (o.force || !o.rows.empty())) throw UsageError("--rows and --force belong to --export");
  LookPage page(o.html_file);  // refuses a path that cannot be written before anything is loaded
  const Model model = o.model.load();
  o.check(model.summary());
  o.text = text_or_stdin(text, o.text);
  const Stopwatch watch;
  const Run run = o.model.run(model, o.text);
  const double one_run = watch.seconds();
  if (!o.export_file.empty()) export_run(o, run);  // refuses before anything is printed
  Findings found = look_into(o, model, run);
  survey_edges(o, run, one_run, found);
  const std::string written = o.html_file.empty() ? "" : page.write(run, found, look_json(run, found));
  o.common.json ? print_json(look_json(run, found)) : print_look(o, run, found);
  if (!written.empty()) o.common.json ? note(written) : say(written, 6);
}

Job declare_look(Flags& flags) {
  auto o = std::make_shared<LookOptions>();
  const Flag* text = declare_text(flags, o->text);
  flags
      .add_option("--token", o->token,
                  "the query to look from: a word, its k-th occurrence as word#k, or an index (default: all); with "
                  "--kind decoder "
                  "or cross, a word that was written")
      ->type_name("WORD[#k]|INDEX")
      ->group("What to look at");
  o->PartFlags::declare(flags, "What to look at");
  declare_top(flags, o->top, fmt::format("how many links (default {})", kLinks))->group("What to look at");
  const Flag* special = flags
                            .add_flag("--special,!--no-special", o->special,
                                      "links to and from [CLS], [SEP] and the like too "
                                      "(default: with --json, not in tables)")
                            ->group("What to look at");
  flags
      .add_flag("--measure", o->measure,
                "the measured effect of each link shown: the model rerun without it, beside 20 random cuts like it")
      ->group("What to look at");
  flags
      .add_flag("--importance", o->importance,
                "|Σ o·do| of each head: how much of the model's own answer stands or falls with it, by its slope; the "
                "most important first")
      ->group("What to look at");
  flags
      .add_flag("--induction", o->induction,
                "how far each head finds what followed a token when it was there before: texts of random words said "
                "twice are read too")
      ->group("What to look at");
  flags.add_option("--html", o->html_file, "writes one offline page in which all of it can be explored")
      ->type_name("FILE")
      ->group("Page");
  flags
      .add_option(
          "--export", o->export_file,
          "writes attention.KIND.LAYER [heads, queries, keys], lse.KIND.LAYER [heads, queries] and "
          "hidden.KIND.LAYER [tokens, width], all F32, for every layer and head, of every kind or of --kind; hidden "
          "layer 0 is the embedding")
      ->type_name("FILE.safetensors")
      ->group("Export");
  flags.add_option("--rows", o->rows, "export the queries A to B−1 only")->type_name("A:B")->group("Export");
  flags.add_flag("--force", o->force, "export more than 1 GiB")->group("Export");
  o->model.declare(flags);
  o->model.declare_written(flags);
  o->common.declare(flags);
  flags.footer(
      "weight: where it looked. lift: how many times a uniform share. local effect: how far this head's output, as the "
      "next "
      "layer reads it, would move had the edge not been there; an estimate of what the link did, not a measurement. "
      "--measure measures it.");
  return [o, text, special] {
    if (!special->given()) o->special = o->common.json;
    run_look(*o, *text);
  };
}

}  // namespace

const Command kLook{"look", "runs a model on a text and shows what attended to what", "[TEXT] [options]",
                    "  fovea look \"The cat sat on the mat.\" --token cat\n"
                    "  fovea look \"The cat sat on the mat.\" --kind cross\n"
                    "  fovea look --model build/models/minilm \"The bank by the river\" --token bank\n"
                    "  echo \"A river bank\" | fovea look --model build/models/minilm --json\n"
                    "  fovea look --model build/models/minilm \"A river bank\" --token bank --measure\n"
                    "  fovea look \"The bank was flooded.\" --importance --induction\n"
                    "  fovea look --model build/models/minilm \"A river bank\" --html page.html\n"
                    "  fovea look --model build/models/minilm \"A text\" --export a.safetensors\n",
                    declare_look};

}  // namespace fovea::cli
