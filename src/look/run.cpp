// A run that can be looked into: every question goes to the functions beside this file.
#include <algorithm>
#include <limits>
#include <mutex>

#include <fmt/format.h>

#include <fovea/model.hpp>

#include "look/choice.hpp"
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

Run::Run(std::shared_ptr<const look::ModelParts> model, std::shared_ptr<const models::Result> result)
    : model_(std::move(model)), result_(std::move(result)), heads_(std::make_shared<Heads>()) {}

const models::Summary& Run::model() const { return model_->encoder->summary(); }
const std::vector<models::LayerRecord>& Run::layers() const { return result_->layers; }
const std::vector<Tensor>& Run::hidden() const { return result_->hidden_states; }

std::vector<int> Run::find(std::string_view selector) const { return look::find_tokens(text, tokens, selector); }

const std::vector<HeadStatistics>& Run::heads() const {
  std::call_once(heads_->once, [&] { heads_->all = look::all_statistics(layers(), kSequence); });
  return heads_->all;
}

double Run::max_abs_error() const {
  double worst = 0;
  for (const HeadStatistics& head : heads())
    if (!(head.max_abs_error <= worst)) worst = head.max_abs_error;  // a NaN is an error too
  return worst;
}

std::vector<Link> Run::links(const LinkQuery& query) const {
  if (query.top < 1) throw Error(fmt::format("top {}: ask for at least one link", query.top));
  const auto records = look::records_of_kind(layers(), query.kind);
  look::Field field;
  for (const int layer : look::chosen("layer", query.layers, static_cast<int>(records.size())))
    field.layers.push_back(records[static_cast<std::size_t>(layer)]);
  field.heads = look::chosen("head", query.heads, model().heads);
  field.queries = query.token.empty() ? look::all_below(static_cast<int>(tokens.size())) : find(query.token);
  if (query.skip_special) {
    for (const Token& t : tokens) field.left_out.push_back(t.special);
    if (query.token.empty())
      std::erase_if(field.queries, [&](int q) { return tokens[static_cast<std::size_t>(q)].special; });
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

Effect unmeasured(const look::Original& run, const look::Metric& metric, const Link& link) {
  Effect e;
  e.metric = metric.name();
  e.before = e.after = e.effect = e.control.mean = e.control.sd = std::numeric_limits<double>::quiet_NaN();
  look::describe(run, look::cut_of(link), e);
  return e;
}

}  // namespace

std::vector<Tensor> Run::slopes(const look::Metric& metric) const {
  models::Sequence sequence;
  for (const Token& t : tokens) sequence.ids.push_back(t.id);
  return look::slopes_of(*model_->encoder, sequence, metric);
}

Effect Run::measure(const MeasureQuery& query) const {
  check_draws(query.draws);
  look::Original run{*model_, *result_, tokens, look::records_of_kind(layers(), query.kind)};
  const look::Variant cut = look::cut_of(run, text, query);
  const auto metric = look::choose_metric(*model_, *result_, tokens, query.target, query.against);
  run.slopes = slopes(*metric);
  return look::measure(run, *metric, {&cut, 1}, query.draws, query.seed).front();
}

std::vector<Effect> Run::measure(std::span<const Link> links, int draws, std::uint64_t seed) const {
  check_draws(draws);
  if (links.empty()) return {};
  const look::Original run{*model_, *result_, tokens, look::records_of_kind(layers(), links.front().kind)};
  const auto metric = look::choose_metric(*model_, *result_, tokens, {}, {});
  std::vector<Effect> effects;
  std::vector<look::Variant> cuts;
  std::vector<std::size_t> places;  // of the cuts among the effects
  for (const Link& link : links) {
    effects.emplace_back();
    if (look::leaves_nothing(run, link)) {
      effects.back() = unmeasured(run, *metric, link);
      continue;
    }
    cuts.push_back(look::cut_of(link)), places.push_back(effects.size() - 1);
  }
  std::vector<Effect> measured = look::measure(run, *metric, cuts, draws, seed);
  for (std::size_t i = 0; i < places.size(); ++i) effects[places[i]] = std::move(measured[i]);
  return effects;
}

Survey Run::survey(const SurveyQuery& query) const {
  look::Original run{*model_, *result_, tokens, look::records_of_kind(layers(), query.kind)};
  const auto metric = look::choose_metric(*model_, *result_, tokens, query.target, query.against);
  run.slopes = slopes(*metric);
  return look::survey(run, *metric, text, query);
}

}  // namespace fovea
