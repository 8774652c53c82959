// load() and what a model does with texts: run, embed, fill in, classify.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include <fovea/model.hpp>

#include "io/hub.hpp"
#include "look/demo_model.hpp"
#include "look/head_scores.hpp"
#include "look/model_parts.hpp"
#include "look/readout.hpp"
#include "look/recording.hpp"
#include "look/writing.hpp"

namespace fovea {

namespace {
look::TooLong too_long(bool truncate) { return truncate ? look::TooLong::Cut : look::TooLong::Refuse; }
}  // namespace

Model::Model(std::shared_ptr<const look::ModelParts> parts) : parts_(std::move(parts)) {}

Model load(const std::string& model) {
  return Model(
      std::make_shared<const look::ModelParts>(model == "demo" ? look::demo_folder() : io::resolve_model(model)));
}

const models::Summary& Model::summary() const { return parts_->encoder->summary(); }

Recording Model::recording(int tokens, int written) const { return look::recording_of(summary(), tokens, written); }

std::vector<HeadScore> Model::induction() const { return look::induction(*parts_); }

Run Model::operator()(std::string_view text, bool truncate, int* cut) const {
  return run(text, nullptr, truncate, cut);
}

Run Model::forced(std::string_view text, std::string_view translation) const {
  if (!writes())
    throw Error(fmt::format("{}: this model only reads (model_type {}); a translation is for one that writes",
                            parts_->folder.string(), summary().family));
  return run(text, &translation, false, nullptr);
}

Run Model::run(std::string_view text, const std::string_view* translation, bool truncate, int* cut) const {
  look::Reading reading = parts_->reader.read(text, {}, too_long(truncate), "the text");
  if (cut) *cut = reading.cut;
  if (writes()) parts_->reader.refuse_unknown(text, reading, "the text");
  const auto read = std::ssize(reading.sequence.ids);
  look::check_limit(summary(), recording_limit_, read, 0);
  const auto check = [&](std::int64_t written) { look::check_limit(summary(), recording_limit_, read, written); };
  models::Pass pass;
  pass.record_attention = pass.record_hidden = true;
  auto result = std::make_shared<models::Result>(parts_->encoder->forward(std::span(&reading.sequence, 1), pass));
  std::shared_ptr<look::Writing> writing;
  if (writes()) {
    writing = std::make_shared<look::Writing>(translation ? look::as_written(*parts_, *translation, *result, check)
                                                          : look::write(*parts_, reading.sequence, *result, check));
    for (const char* kind : {"decoder", "cross"})
      for (models::LayerRecord& record : writing->result.layers)
        if (record.kind == kind) result->layers.push_back(std::move(record));
    writing->result.layers.clear();
  }
  Run run(parts_, std::move(result), std::move(writing));
  run.text = text;
  run.tokens = std::move(reading.tokens);
  return run;
}

// --------------------------------------------------------------------------------------------------------------- embed

Tensor Model::embed(std::span<const std::string> texts, bool truncate, int* cut) const {
  // Of a batch, unless one text has more: bounds what a pass keeps, and keeps the cores busy.
  constexpr std::size_t kTokens = 4096;
  const models::Pooling& pooling = parts_->pooling();
  Tensor out(DType::F32, {std::ssize(texts), pooling.width()});
  float* row = out.data<float>();
  std::vector<models::Sequence> batch;
  std::size_t tokens = 0;
  const auto flush = [&] {
    if (batch.empty()) return;
    const Tensor vectors = pooling(parts_->encoder->forward(batch));  // [sequences, width]
    row = std::ranges::copy(vectors.values<float>(), row).out;
    batch.clear(), tokens = 0;
  };
  int left_out = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    look::Reading reading = parts_->reader.read(texts[i], {}, too_long(truncate), fmt::format("text {}", i + 1));
    left_out += reading.cut;
    if (tokens + reading.tokens.size() > kTokens) flush();
    tokens += reading.tokens.size();
    batch.push_back(std::move(reading.sequence));
  }
  flush();
  if (cut) *cut = left_out;
  return out;
}

// --------------------------------------------------------------------------------------------------- fill and classify

namespace {

using look::Outcome;

std::vector<double> reported(Outcome outcome, std::span<const float> logits) {
  if (outcome == Outcome::OneOf) return look::softmax(logits);
  std::vector<double> p(logits.begin(), logits.end());
  if (outcome == Outcome::AnyOf)
    for (double& x : p) x = 1 / (1 + std::exp(-x));
  return p;
}

/// Indices of the `top` largest, largest first; of equals the first first, and NaN last (sorting must not meet one).
std::vector<std::size_t> largest(std::vector<double> p, std::size_t top) {
  std::ranges::replace_if(
      p, [](double x) { return std::isnan(x); }, -std::numeric_limits<double>::infinity());
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(top, order.size()));
  std::partial_sort(order.begin(), end, order.end(),
                    [&](std::size_t a, std::size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
  order.erase(end, order.end());
  return order;
}

}  // namespace

std::vector<std::vector<Guess>> Model::fill(std::string_view text, int top) const {
  if (top < 1) throw Error(fmt::format("top {}: ask for at least one token", top));
  const look::MaskToken mask = parts_->reader.mask();
  const look::Reading reading = parts_->reader.read(text, {}, look::TooLong::Refuse, "the text");
  std::vector<int> positions;
  for (const Token& t : reading.tokens)
    if (t.id == mask.id) positions.push_back(t.index);
  if (positions.empty())
    throw Error(fmt::format("the text has no {}; write it where a word is to be filled in", mask.text));
  const Tensor hidden = parts_->encoder->forward(std::span(&reading.sequence, 1)).hidden;
  const Tensor logits =
      parts_->encoder->vocabulary_logits(look::rows_at(hidden, positions));  // [positions, vocabulary]
  std::vector<std::vector<Guess>> guesses(positions.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const std::vector<double> p = look::softmax(look::row_of(logits, i));
    for (const std::size_t id : largest(p, static_cast<std::size_t>(top)))
      guesses[i].push_back({parts_->reader.spelled(static_cast<int>(id)), static_cast<int>(id), p[id]});
  }
  return guesses;
}

std::vector<Label> Model::classify(std::string_view text, std::string_view pair) const {
  const char* what = pair.empty() ? "the text" : "the pair of texts";
  const look::Reading reading = parts_->reader.read(text, pair, look::TooLong::Refuse, what);
  const Tensor logits =
      parts_->encoder->class_logits(parts_->encoder->forward(std::span(&reading.sequence, 1)));  // [1, labels]
  const std::vector<std::string>& names = parts_->encoder->labels();
  const std::vector<double> p = reported(look::outcome_of(parts_->folder, names.size()), logits.values<float>());
  std::vector<Label> labels;
  for (const std::size_t i : largest(p, p.size())) labels.push_back({names[i], p[i]});
  return labels;
}

}  // namespace fovea
