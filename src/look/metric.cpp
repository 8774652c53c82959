#include "look/metric.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "io/quote.hpp"
#include "look/choice.hpp"
#include "look/readout.hpp"
#include "look/words.hpp"
#include "ops/embedding.hpp"
#include "ops/pointwise.hpp"
#include "ops/tape.hpp"

namespace fovea::look {
namespace {

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  return sum;
}

/// 1 − cos as ½ ‖a/|a| − b/|b|‖²: two vectors that are nearly the same keep their digits.
double cosine_distance(std::span<const float> a, std::span<const float> b) {
  const double x = 1 / std::sqrt(dot(a, a)), y = 1 / std::sqrt(dot(b, b));
  double squares = 0;
  for (std::size_t c = 0; c < a.size(); ++c) {
    const double gap = static_cast<double>(a[c]) * x - static_cast<double>(b[c]) * y;
    squares += gap * gap;
  }
  return squares / 2;
}

int tokens_of(const models::Result& result) { return result.ends.front(); }

/// The mean cosine of the queries' final vectors with what they were.
class VectorMetric final : public Metric {
 public:
  explicit VectorMetric(const Tensor& hidden) : hidden_(hidden) {}
  std::string_view name() const override { return "cosine_distance"; }
  std::span<const int> positions() const override { return {}; }
  std::vector<Answer> read(const models::Result& result, std::span<const Variant* const> variants) const override {
    const auto tokens = static_cast<std::size_t>(tokens_of(result));
    std::vector<Answer> all(variants.size());
    for (std::size_t i = 0; i < variants.size(); ++i) {
      double distance = 0;
      for (const int q : variants[i]->queries) {
        const auto row = static_cast<std::size_t>(q);
        distance += cosine_distance(row_of(hidden_, row), row_of(result.hidden, i * tokens + row));
      }
      all[i].value = 1 - distance / static_cast<double>(variants[i]->queries.size());
    }
    return all;
  }

 private:
  Tensor hidden_;  // [tokens, width] of the run as it was
};

/// ln p of one answer, less ln p of another where there is one.
double log_odds(std::span<const float> logits, std::size_t answer, std::optional<std::size_t> against) {
  const double p = log_probability(logits, answer);
  return against ? p - log_probability(logits, *against) : p;
}

/// Σ of the rows' log_odds on a tape, logits [rows, classes]: d ln p_t = [t] − p, and in a difference of two p cancels.
Tensor recorded_log_odds(const Tensor& logits, const std::vector<std::size_t>& answers,
                         std::optional<std::size_t> against) {
  Tensor value(DType::F32, {1}), slope(DType::F32, logits.shape());
  double sum = 0;
  const auto classes = static_cast<std::size_t>(logits.shape()[1]);
  for (std::size_t r = 0; r < answers.size(); ++r) {
    const std::span row = row_of(logits, r);
    sum += log_odds(row, answers[r], against);
    const std::span to = slope.values<float>().subspan(r * classes, classes);
    if (!against) std::ranges::transform(softmax(row), to.begin(), [](double p) { return static_cast<float>(-p); });
    to[answers[r]] += 1;
    if (against) to[*against] -= 1;
  }
  *value.data<float>() = static_cast<float>(sum);
  if (Tape* tape = Tape::current())
    tape->record(value, {logits}, [logits, slope](Tape& t, const Tensor& dvalue) {
      t.add(logits, scale(slope, static_cast<double>(*dvalue.data<float>())));
    });
  return value;
}

void refuse_lone_against(const std::string& target, const std::string& against) {
  if (target.empty() && !against.empty())
    throw Error(fmt::format("against {} wants a target: what it is to be weighed against", io::in_quotes(against)));
}

/// What a masked-language head says where words are hidden: with several masks, Σ ln p.
class VocabularyMetric final : public Metric {
 public:
  VocabularyMetric(const ModelParts& model, std::vector<int> masks) : model_(model), masks_(std::move(masks)) {}
  void ask(std::vector<std::size_t> answers, std::optional<std::size_t> against) {
    answers_ = std::move(answers), against_ = against;
  }
  /// Logits [variants · masks, vocabulary].
  Tensor logits(const models::Result& result) const {
    std::vector<int> rows;
    for (std::size_t i = 0; i < result.ends.size(); ++i)
      for (const int p : masks_) rows.push_back(static_cast<int>(i) * tokens_of(result) + p);
    return model_.encoder->vocabulary_logits(rows_at(result.hidden, rows));
  }
  std::string_view name() const override { return against_ ? "log_odds" : "log_probability"; }
  std::span<const int> positions() const override { return masks_; }
  std::vector<Answer> read(const models::Result& result, std::span<const Variant* const> variants) const override {
    const Tensor rows = logits(result);  // [variants · masks, vocabulary]
    std::vector<Answer> all(variants.size());
    for (std::size_t i = 0; i < variants.size(); ++i) {
      std::vector<std::string> words;
      for (std::size_t m = 0; m < masks_.size(); ++m) {
        const std::span row = row_of(rows, i * masks_.size() + m);
        all[i].value += log_odds(row, answers_[m], against_);
        words.push_back(model_.reader.spelled(static_cast<int>(likeliest(row))));
      }
      all[i].output = fmt::format("{}", fmt::join(words, ", "));
    }
    return all;
  }
  Tensor recorded(const models::Result& result) const override {
    return recorded_log_odds(model_.encoder->vocabulary_logits(embedding(result.hidden, masks_)), answers_, against_);
  }

 private:
  const ModelParts& model_;
  std::vector<int> masks_;
  std::vector<std::size_t> answers_;  // one a mask
  std::optional<std::size_t> against_;
};

/// What a sequence-classification head says of the text.
class ClassMetric final : public Metric {
 public:
  ClassMetric(const ModelParts& model, std::size_t answer, std::optional<std::size_t> against)
      : model_(model), answer_(answer), against_(against) {}
  std::string_view name() const override { return against_ ? "log_odds" : "log_probability"; }
  std::span<const int> positions() const override { return kFirst; }
  std::vector<Answer> read(const models::Result& result, std::span<const Variant* const> variants) const override {
    const Tensor logits = model_.encoder->class_logits(result);  // [variants, labels]
    std::vector<Answer> all(variants.size());
    for (std::size_t i = 0; i < variants.size(); ++i) {
      const std::span row = row_of(logits, i);
      all[i] = {log_odds(row, answer_, against_), model_.encoder->labels()[likeliest(row)]};
    }
    return all;
  }
  Tensor recorded(const models::Result& result) const override {
    return recorded_log_odds(model_.encoder->class_logits(result), {answer_}, against_);
  }

 private:
  static constexpr std::array kFirst{0};  // the token that the pooler reads
  const ModelParts& model_;
  std::size_t answer_;
  std::optional<std::size_t> against_;
};

/// What a decoder says at chosen steps, given what was written before them: Σ ln p.
class WritingMetric final : public Metric {
 public:
  WritingMetric(const ModelParts& model, std::vector<int> steps, std::vector<std::size_t> answers,
                std::optional<std::size_t> against)
      : model_(model), steps_(std::move(steps)), answers_(std::move(answers)), against_(against) {}
  std::string_view name() const override { return against_ ? "log_odds" : "log_probability"; }
  std::span<const int> positions() const override { return steps_; }
  std::vector<Answer> read(const models::Result& result, std::span<const Variant* const> variants) const override {
    constexpr std::size_t kRows = 256;  // at once: a vocabulary is wide
    std::vector<Answer> all(variants.size());
    const std::size_t many = std::max<std::size_t>(1, kRows / steps_.size());
    for (std::size_t first = 0; first < all.size(); first += many) {
      const std::size_t n = std::min(many, all.size() - first);
      std::vector<int> rows;
      for (std::size_t i = first; i < first + n; ++i)
        for (const int step : steps_) rows.push_back(static_cast<int>(i) * tokens_of(result) + step);
      const Tensor logits = model_.writer->vocabulary_logits(rows_at(result.hidden, rows));  // [n · steps, vocabulary]
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t s = 0; s < steps_.size(); ++s)
          all[first + i].value += log_odds(row_of(logits, i * steps_.size() + s), answers_[s], against_);
    }
    return all;
  }
  Tensor recorded(const models::Result& result) const override {
    return recorded_log_odds(model_.writer->vocabulary_logits(embedding(result.hidden, steps_)), answers_, against_);
  }

 private:
  const ModelParts& model_;
  std::vector<int> steps_;
  std::vector<std::size_t> answers_;  // one a step
  std::optional<std::size_t> against_;
};

std::unique_ptr<Metric> vocabulary_metric(const ModelParts& model, const models::Result& result, std::vector<int> masks,
                                          const std::string& target, const std::string& against) {
  if (!target.empty() && masks.size() > 1)
    throw Error(fmt::format("the text has {} masks, and a target is for one; leave one where the answer belongs",
                            masks.size()));
  const auto id = [&](const std::string& word) { return static_cast<std::size_t>(model.reader.word(word)); };
  std::optional<std::size_t> other;
  if (!against.empty()) other = id(against);
  const std::size_t count = masks.size();
  auto metric = std::make_unique<VocabularyMetric>(model, std::move(masks));
  std::vector<std::size_t> answers;
  if (!target.empty()) {
    answers = {id(target)};
  } else {
    const Tensor logits = metric->logits(result);  // [masks, vocabulary]
    for (std::size_t m = 0; m < count; ++m) answers.push_back(likeliest(row_of(logits, m)));
  }
  metric->ask(std::move(answers), other);
  return metric;
}

std::unique_ptr<Metric> class_metric(const ModelParts& model, const models::Result& result, const std::string& target,
                                     const std::string& against) {
  const std::vector<std::string>& labels = model.encoder->labels();
  const auto index = [&](const std::string& name) {
    const auto found = std::ranges::find(labels, name);
    if (found != labels.end()) return static_cast<std::size_t>(found - labels.begin());
    throw Error(fmt::format("{} is no label of this model; it has {}", io::in_quotes(name), fmt::join(labels, ", ")));
  };
  std::optional<std::size_t> other;
  if (!against.empty()) other = index(against);
  const std::size_t answer = target.empty() ? likeliest(row_of(model.encoder->class_logits(result), 0)) : index(target);
  return std::make_unique<ClassMetric>(model, answer, other);
}

bool chooses_one_label(const ModelParts& model) {
  const std::vector<std::string>& labels = model.encoder->labels();
  return !labels.empty() && outcome_of(model.folder, labels.size()) == Outcome::OneOf;
}

}  // namespace

std::unique_ptr<Metric> choose_metric(const ModelParts& model, const models::Result& result,
                                      std::span<const Token> tokens, const std::string& target,
                                      const std::string& against) {
  refuse_lone_against(target, against);
  if (model.encoder->predicts_vocabulary()) {
    const MaskToken mask = model.reader.mask();
    std::vector<int> masks;
    for (const Token& t : tokens)
      if (t.id == mask.id) masks.push_back(t.index);
    if (!masks.empty()) return vocabulary_metric(model, result, std::move(masks), target, against);
    if (!target.empty())
      throw Error(fmt::format("target {}: the text has no {}; write it where the word is to be filled in",
                              io::in_quotes(target), mask.text));
  } else if (chooses_one_label(model)) {
    return class_metric(model, result, target, against);
  } else if (!target.empty()) {
    throw Error(
        fmt::format("target {}: this model predicts neither words nor labels; without a target its final "
                    "vectors are compared",
                    io::in_quotes(target)));
  }
  return std::make_unique<VectorMetric>(result.hidden);
}

std::unique_ptr<Metric> writing_metric(const ModelParts& model, const Writing& writing, const std::string& target,
                                       const std::string& against) {
  refuse_lone_against(target, against);
  std::vector<int> steps = target.empty() ? all_below(static_cast<int>(writing.tokens.size()))
                                          : find_tokens(writing.text, writing.tokens, target, "wrote");
  std::optional<std::size_t> other;
  if (!against.empty()) {
    if (steps.size() > 1)
      throw Error(
          fmt::format("target {} was written as {} tokens, and against {} is one; give the position of the "
                      "token that is to be weighed against it",
                      io::in_quotes(target), steps.size(), io::in_quotes(against)));
    other = static_cast<std::size_t>(model.reader.word(against));
  }
  std::vector<std::size_t> answers;
  for (const int step : steps)
    answers.push_back(static_cast<std::size_t>(writing.tokens[static_cast<std::size_t>(step)].id));
  return std::make_unique<WritingMetric>(model, std::move(steps), std::move(answers), other);
}

std::unique_ptr<Metric> choose_metric(const Original& run, const std::string& target, const std::string& against) {
  if (run.writing) return writing_metric(run.model, *run.writing, target, against);
  return choose_metric(run.model, run.result, run.tokens, target, against);
}

}  // namespace fovea::look
