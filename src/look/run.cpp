// A run that can be looked into: every question goes to the functions beside this file.
#include <algorithm>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include <fovea/model.hpp>

#include "look/alignment.hpp"
#include "look/choice.hpp"
#include "look/head_scores.hpp"
#include "look/links.hpp"
#include "look/measure.hpp"
#include "look/model_parts.hpp"
#include "look/slopes.hpp"
#include "look/statistics.hpp"
#include "look/words.hpp"

namespace fovea {

constexpr int kSequence = 0;  // a run is one text

/// A run doesn't change, so its heads are read once, whoever asks first.
struct Run::Heads {
  std::once_flag once;
  std::vector<HeadStatistics> all;
};

Run::Run(std::shared_ptr<const look::ModelParts> model, std::shared_ptr<const models::Result> result,
         std::shared_ptr<const look::Writing> writing)
    : model_(std::move(model)),
      result_(std::move(result)),
      writing_(std::move(writing)),
      heads_(std::make_shared<Heads>()) {}

const models::Summary& Run::model() const { return model_->encoder->summary(); }
const std::vector<models::LayerRecord>& Run::layers() const { return result_->layers; }

const std::vector<Tensor>& Run::hidden(const std::string& kind) const {
  if (kind == "cross")
    throw Error("kind \"cross\" has no hidden states of its own; ask for \"encoder\" or \"decoder\"");
  return kind == "decoder" && writing_ ? writing_->result.hidden_states : result_->hidden_states;
}

look::Original Run::original(const std::string& kind) const {
  return {*model_, *result_, tokens, look::records_of_kind(layers(), kind), writing_.get()};
}

// ------------------------------------------------------------------------------------------------- what was written

namespace {
const look::Writing kNothingWritten;
}

const std::string& Run::target_text() const { return (writing_ ? *writing_ : kNothingWritten).text; }
const std::vector<Token>& Run::target_tokens() const { return (writing_ ? *writing_ : kNothingWritten).tokens; }
const std::vector<Token>& Run::target_inputs() const { return (writing_ ? *writing_ : kNothingWritten).inputs; }

std::vector<Aligned> Run::alignment() const {
  if (!writes()) return {};
  return look::alignment_path(*look::records_of_kind(layers(), "cross").back(), kSequence, tokens);
}

const std::vector<Token>& Run::queries(const std::string& kind) const {
  const std::string& shown = look::records_of_kind(layers(), kind).front()->kind;
  return shown == "encoder" ? tokens : target_tokens();
}
const std::vector<Token>& Run::keys(const std::string& kind) const {
  return look::records_of_kind(layers(), kind).front()->kind == "decoder" ? target_inputs() : tokens;
}

std::vector<int> Run::find(std::string_view selector) const { return look::find_tokens(text, tokens, selector); }
std::vector<int> Run::find_query(std::string_view selector, const std::string& kind) const {
  return original(kind).find_query(text, selector);
}
std::vector<int> Run::find_key(std::string_view selector, const std::string& kind) const {
  return original(kind).find_key(text, selector);
}

// ------------------------------------------------------------------------------------------------------- what is seen

const std::vector<HeadStatistics>& Run::heads() const {
  std::call_once(heads_->once, [&] {
    look::SpecialKeys special;
    for (const models::LayerRecord& record : layers()) {
      std::vector<float>& flags = special[record.kind];
      if (flags.empty())
        for (const Token& t : keys(record.kind)) flags.push_back(t.special ? 1.0f : 0.0f);
    }
    heads_->all = look::all_statistics(layers(), kSequence, special);
  });
  return heads_->all;
}

double Run::max_abs_error(const std::string& kind) const {
  double worst = 0;
  for (const HeadStatistics& head : heads())
    if ((kind.empty() || head.kind == kind) && !(head.max_abs_error <= worst))
      worst = head.max_abs_error;  // a NaN is an error too
  return worst;
}

std::vector<Link> Run::links(const LinkQuery& query) const {
  if (query.top < 1) throw Error(fmt::format("top {}: ask for at least one link", query.top));
  const look::Original run = original(query.kind);
  const std::span queries = run.queries();
  look::Field field;
  for (const int layer : look::chosen("layer", query.layers, static_cast<int>(run.records.size())))
    field.layers.push_back(run.records[static_cast<std::size_t>(layer)]);
  field.heads = look::chosen("head", query.heads, run.heads());
  field.queries =
      query.token.empty() ? look::all_below(static_cast<int>(queries.size())) : run.find_query(text, query.token);
  if (query.skip_special) {
    field.left_out = look::special_among(run.keys());
    if (query.token.empty())
      std::erase_if(field.queries, [&](int q) { return queries[static_cast<std::size_t>(q)].special; });
  }
  return look::strongest_links(field, kSequence, query.top);
}

// -------------------------------------------------------------------------------------------------------------
// measured

namespace {

void check_draws(int draws) {
  constexpr int kLeast = 20, kMost = 100'000;  // with fewer, nothing could stand out; see Effect::measurable
  if (draws < kLeast || draws > kMost)
    throw Error(fmt::format("draws {}: a control has {} to {}", draws, kLeast, kMost));
}

/// What every question about causes begins with: the number that is asked for, and how it answers to the heads.
struct Asked {
  look::Original run;
  std::unique_ptr<look::Metric> metric;
};
Asked asked_of(look::Original run, const std::string& target, const std::string& against) {
  std::unique_ptr<look::Metric> metric = look::choose_metric(run, target, against);
  run.slopes = look::slopes_of(run, *metric);
  return {std::move(run), std::move(metric)};
}

Effect unmeasured(const look::Original& run, const look::Metric& metric, const Link& link) {
  Effect e;
  e.metric = metric.name();
  e.before = e.after = e.effect = e.control.mean = e.control.sd = std::numeric_limits<double>::quiet_NaN();
  look::describe(run, {{{link.layer, link.head, link.query, link.key}}, {link.query}}, e);
  return e;
}

}  // namespace

Effect Run::measure(const MeasureQuery& query) const {
  check_draws(query.draws);
  const look::Variant cut = look::cut_of(original(query.kind), text, query);
  const Asked asked = asked_of(original(query.kind), query.target, query.against);
  return look::measure(asked.run, *asked.metric, {&cut, 1}, query.draws, query.seed).front();
}

std::vector<Effect> Run::measure(std::span<const Link> links, int draws, std::uint64_t seed) const {
  check_draws(draws);
  if (links.empty()) return {};
  const look::Original run = original(links.front().kind);
  const auto metric = look::choose_metric(run, {}, {});
  std::vector<Effect> effects;
  std::vector<look::Variant> cuts;
  std::vector<std::size_t> places;  // of the cuts among the effects
  for (const Link& link : links) {
    effects.emplace_back();
    if (look::leaves_nothing(run, link)) {
      effects.back() = unmeasured(run, *metric, link);
      continue;
    }
    cuts.push_back(look::cut_of(run, link)), places.push_back(effects.size() - 1);
  }
  std::vector<Effect> measured = look::measure(run, *metric, cuts, draws, seed);
  for (std::size_t i = 0; i < places.size(); ++i) effects[places[i]] = std::move(measured[i]);
  return effects;
}

Flip Run::flip(const MeasureQuery& query, int most) const {
  check_draws(query.draws);
  if (query.target.empty() || query.against.empty())
    throw Error("flip: say what is to be turned around: a target, and what it is weighed against");
  if (most < 1) throw Error(fmt::format("flip: {} edges; search for at least one", most));
  const Asked asked = asked_of(original(query.kind), query.target, query.against);
  return look::flip(asked.run, *asked.metric, query, most);
}

std::vector<HeadScore> Run::importance(const std::string& target, const std::string& against) const {
  std::vector<HeadScore> scores;
  for (const char* kind : {"encoder", "decoder", "cross"}) {
    if (std::ranges::find(layers(), kind, &models::LayerRecord::kind) == layers().end()) continue;
    const look::Original run = original(kind);
    const auto metric = look::choose_metric(run, target, against);
    std::ranges::move(look::importance(run, *metric), std::back_inserter(scores));
  }
  return scores;
}

Survey Run::survey(const SurveyQuery& query) const {
  const Asked asked = asked_of(original(query.kind), query.target, query.against);
  return look::survey(asked.run, *asked.metric, text, query);
}

}  // namespace fovea
