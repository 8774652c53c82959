#include "look/metric.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
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
  std::vector<Answer> read(const models::Result& result, std::span<const Variant* const> variants,
                           const std::vector<bool>&) const override {
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

/// Σ of the rows' log_odds on a tape, logits [rows, classes]: d ln p_t = [t] − p, and in a difference of two p cancels.
Tensor recorded_log_odds(const Tensor& logits, const std::vector<std::size_t>& answers,
                         std::optional<std::size_t> against) {
  Tensor value(DType::F32, {1}), slope(DType::F32, logits.shape());
  double sum = 0;
  const auto classes = static_cast<std::size_t>(logits.shape()[1]);
  for (std::size_t r = 0; r < answers.size(); ++r) {
    const std::span row = row_of(logits, r);
    sum += against ? static_cast<double>(row[answers[r]]) - static_cast<double>(row[*against])
                   : log_probability(row, answers[r]);
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

/// What a head says at chosen positions: Σ ln p of an answer at each, or of one answer its log-odds against another,
/// in which all but the two logits cancels.
class AnswerMetric : public Metric {
 public:
  explicit AnswerMetric(std::vector<int> positions) : positions_(std::move(positions)) {}
  /// What is asked of `asked` [positions, classes], the logits of the run as it was.
  void ask(std::vector<std::size_t> answers, std::optional<std::size_t> against, Tensor asked) {
    answers_ = std::move(answers), against_ = against, asked_ = std::move(asked);
    said_.clear(), log_said_.clear();
    for (std::size_t i = 0; i < positions_.size(); ++i) {
      said_.push_back(softmax(row_of(asked_, i)));
      log_said_.push_back(log_probability(row_of(asked_, i), answers_[i]));
    }
  }
  std::string_view name() const override { return against_ ? "log_odds" : "log_probability"; }
  std::span<const int> positions() const override { return positions_; }
  std::vector<Answer> read(const models::Result& result, std::span<const Variant* const> variants,
                           const std::vector<bool>& in_full) const override {
    constexpr std::size_t kRows = 256;  // at once: a vocabulary is wide
    std::vector<Answer> all(variants.size());
    const std::size_t count = positions_.size(), many = std::max<std::size_t>(1, kRows / count);
    for (std::size_t first = 0; first < all.size(); first += many) {
      const std::size_t n = std::min(many, all.size() - first);
      const Tensor rows = logits(result, first, n);  // [n · positions, classes]
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t p = 0; p < count; ++p) {
          const std::span row = row_of(rows, i * count + p);
          all[first + i].value += value_of(row, p);
          if (in_full.empty() || in_full[first + i]) add(row, p, all[first + i]);
        }
    }
    return all;
  }
  Tensor recorded(const models::Result& result) const override {
    return recorded_log_odds(recorded_logits(result), answers_, against_);
  }

 protected:
  /// Logits [n · positions, classes] of sequences [first, first + n).
  virtual Tensor logits(const models::Result& result, std::size_t first, std::size_t n) const = 0;
  virtual Tensor recorded_logits(const models::Result& result) const = 0;  // of one sequence, by operators
  /// The likeliest answer of a row [classes], where the metric says one.
  virtual std::string spelled(std::span<const float>) const { return {}; }
  /// Rows of these positions in sequences [first, first + n).
  std::vector<int> rows_of(const models::Result& result, std::size_t first, std::size_t n) const {
    std::vector<int> rows;
    for (std::size_t i = first; i < first + n; ++i)
      for (const int p : positions_) rows.push_back(static_cast<int>(i) * tokens_of(result) + p);
    return rows;
  }

 private:
  double value_of(std::span<const float> row, std::size_t at) const {
    if (!against_) return log_probability(row, answers_[at]);
    return static_cast<double>(row[answers_[at]]) - static_cast<double>(row[*against_]);
  }
  /// All of an answer but its value.
  void add(std::span<const float> row, std::size_t at, Answer& to) const {
    const std::span was = row_of(asked_, at);
    const std::size_t answer = answers_[at];
    const double logit = static_cast<double>(row[answer]), log_p = log_probability(row, answer);
    // ln p − ln p' of the answer, and of every other as much more as its logit's change differs from the answer's.
    double kl = log_said_[at] - log_p;
    for (std::size_t c = 0; c < row.size(); ++c)
      kl += said_[at][c] *
            (static_cast<double>(was[c]) - static_cast<double>(was[answer]) - (static_cast<double>(row[c]) - logit));
    if (at == 0) to.logit = to.log_probability = to.kl = 0;
    to.logit += logit, to.log_probability += log_p, to.kl += std::max(kl, 0.0);
    const std::string word = spelled(row);
    if (!word.empty()) to.output += (to.output.empty() ? "" : ", ") + word;
  }

  std::vector<int> positions_;
  std::vector<std::size_t> answers_;  // one a position
  std::optional<std::size_t> against_;
  Tensor asked_;                           // logits [positions, classes] of the run as it was …
  std::vector<std::vector<double>> said_;  // … and what they say, [positions, classes]
  std::vector<double> log_said_;           // ln p of the answers, [positions]
};

/// What a masked-language head says where words are hidden.
class VocabularyMetric final : public AnswerMetric {
 public:
  VocabularyMetric(const ModelParts& model, std::vector<int> masks) : AnswerMetric(std::move(masks)), model_(model) {}
  Tensor logits(const models::Result& result, std::size_t first, std::size_t n) const override {
    return model_.encoder->vocabulary_logits(rows_at(result.hidden, rows_of(result, first, n)));
  }

 private:
  Tensor recorded_logits(const models::Result& result) const override {
    return model_.encoder->vocabulary_logits(embedding(result.hidden, positions()));
  }
  std::string spelled(std::span<const float> row) const override {
    return model_.reader.spelled(static_cast<int>(likeliest(row)));
  }
  const ModelParts& model_;
};

/// What a sequence-classification head says of the text.
class ClassMetric final : public AnswerMetric {
 public:
  explicit ClassMetric(const ModelParts& model)
      : AnswerMetric({0}), model_(model) {}  // the token that the pooler reads

 private:
  Tensor logits(const models::Result& result, std::size_t first, std::size_t n) const override {
    std::vector<int> rows(n);
    std::iota(rows.begin(), rows.end(), static_cast<int>(first));
    return rows_at(model_.encoder->class_logits(result), rows);  // of [variants, labels]
  }
  Tensor recorded_logits(const models::Result& result) const override { return model_.encoder->class_logits(result); }
  std::string spelled(std::span<const float> row) const override { return model_.encoder->labels()[likeliest(row)]; }
  const ModelParts& model_;
};

/// What a decoder says at chosen steps, given what was written before them.
class WritingMetric final : public AnswerMetric {
 public:
  WritingMetric(const ModelParts& model, std::vector<int> steps) : AnswerMetric(std::move(steps)), model_(model) {}
  Tensor logits(const models::Result& result, std::size_t first, std::size_t n) const override {
    return model_.writer->vocabulary_logits(rows_at(result.hidden, rows_of(result, first, n)));
  }

 private:
  Tensor recorded_logits(const models::Result& result) const override {
    return model_.writer->vocabulary_logits(embedding(result.hidden, positions()));
  }
  const ModelParts& model_;
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
  const Tensor logits = metric->logits(result, 0, 1);  // [masks, vocabulary]
  std::vector<std::size_t> answers;
  if (!target.empty()) answers = {id(target)};
  for (std::size_t m = answers.size(); m < count; ++m) answers.push_back(likeliest(row_of(logits, m)));
  metric->ask(std::move(answers), other, logits);
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
  const Tensor logits = model.encoder->class_logits(result);  // [1, labels]
  auto metric = std::make_unique<ClassMetric>(model);
  metric->ask({target.empty() ? likeliest(row_of(logits, 0)) : index(target)}, other, logits);
  return metric;
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
  auto metric = std::make_unique<WritingMetric>(model, std::move(steps));
  metric->ask(std::move(answers), other, metric->logits(writing.result, 0, 1));
  return metric;
}

std::unique_ptr<Metric> choose_metric(const Original& run, const std::string& target, const std::string& against) {
  if (run.writing) return writing_metric(run.model, *run.writing, target, against);
  return choose_metric(run.model, run.result, run.tokens, target, against);
}

}  // namespace fovea::look
