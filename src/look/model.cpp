// load() and what a model does with texts: run, embed, fill in, classify.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include <fovea/model.hpp>

#include "io/hub.hpp"
#include "io/json.hpp"
#include "look/reader.hpp"
#include "models/encoder.hpp"
#include "models/pooling.hpp"

namespace fovea {

namespace {
look::TooLong too_long(bool truncate) { return truncate ? look::TooLong::Cut : look::TooLong::Refuse; }
}  // namespace

struct Model::Parts {
  explicit Parts(const std::filesystem::path& where)
      : folder(where), encoder(models::load_encoder(where)), reader(where, encoder->summary()) {}

  /// Read when it is first asked for: only embed() minds what modules.json says.
  const models::Pooling& pooling() const {
    std::call_once(once, [&] { pooling_.emplace(models::Pooling::load(folder, encoder->summary().width)); });
    return *pooling_;
  }

  std::filesystem::path folder;
  std::shared_ptr<const models::Encoder> encoder;
  look::Reader reader;

 private:
  mutable std::once_flag once;
  mutable std::optional<models::Pooling> pooling_;
};

Model::Model(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}

Model load(const std::string& model) { return Model(std::make_shared<const Model::Parts>(io::resolve_model(model))); }

const models::Summary& Model::summary() const { return parts_->encoder->summary(); }

Run Model::operator()(std::string_view text, bool truncate, int* cut) const {
  look::Reading reading = parts_->reader.read(text, {}, too_long(truncate), "the text");
  if (cut) *cut = reading.cut;
  models::Pass pass;
  pass.record_attention = pass.record_hidden = true;
  Run run(parts_->encoder,
          std::make_shared<const models::Result>(parts_->encoder->forward(std::span(&reading.sequence, 1), pass)));
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

/// exp(x − max) / Σ, in double.
std::vector<double> softmax(std::span<const float> logits) {
  const auto most = static_cast<double>(*std::ranges::max_element(logits));
  std::vector<double> p(logits.size());
  std::ranges::transform(logits, p.begin(), [&](float x) { return std::exp(static_cast<double>(x) - most); });
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

/// Rows [positions, width] of hidden [tokens, width].
Tensor rows_at(const Tensor& hidden, const std::vector<int>& positions) {
  const std::int64_t width = hidden.shape()[1];
  Tensor rows(DType::F32, {std::ssize(positions), width});
  float* to = rows.data<float>();
  for (const int p : positions) to = std::copy_n(hidden.data<float>() + p * width, width, to);
  return rows;
}

/// How logits become what is reported, by transformers' rules: config.json's problem_type, or the number of labels
/// where it is silent.
enum class Outcome { OneOf, AnyOf, Value };
Outcome outcome_of(const std::filesystem::path& folder, std::size_t labels) {
  const std::filesystem::path file = folder / "config.json";
  const auto type = io::optional_or<std::string>(io::read_json(file), "problem_type", "", file);
  if (type == "regression") return Outcome::Value;
  if (type == "multi_label_classification" || (type.empty() && labels == 1)) return Outcome::AnyOf;
  if (type.empty() || type == "single_label_classification") return Outcome::OneOf;
  throw Error(
      fmt::format("{}: problem_type {} is not known; expected single_label_classification, multi_label_classification "
                  "or regression",
                  file.string(), type));
}

std::vector<double> reported(Outcome outcome, std::span<const float> logits) {
  if (outcome == Outcome::OneOf) return softmax(logits);
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
  const Tensor logits = parts_->encoder->vocabulary_logits(rows_at(hidden, positions));  // [positions, vocabulary]
  const auto vocabulary = static_cast<std::size_t>(logits.shape()[1]);
  std::vector<std::vector<Guess>> guesses(positions.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const std::vector<double> p = softmax(logits.values<float>().subspan(i * vocabulary, vocabulary));
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
  const std::vector<double> p = reported(outcome_of(parts_->folder, names.size()), logits.values<float>());
  std::vector<Label> labels;
  for (const std::size_t i : largest(p, p.size())) labels.push_back({names[i], p[i]});
  return labels;
}

}  // namespace fovea
