// What models are for, as pruning measures it: to answer as before, or to write what they should.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "look/prune.hpp"
#include "look/readout.hpp"
#include "ops/cross_entropy.hpp"
#include "ops/embedding.hpp"
#include "ops/pointwise.hpp"

namespace fovea::look {
namespace {

void add_heads(std::vector<PrunedHead>& all, const std::string& kind, int layer, std::int64_t heads) {
  for (int h = 0; h < static_cast<int>(heads); ++h) all.push_back({kind, layer, h});
}

/// Heads of every attention that a pass recorded: layers may differ.
std::vector<PrunedHead> heads_of_records(std::span<const models::LayerRecord> records) {
  std::vector<PrunedHead> all;
  for (const models::LayerRecord& r : records) add_heads(all, r.kind, r.layer, r.q.shape()[2]);
  return all;
}

std::vector<int> row_ends(const std::vector<models::Sequence>& sequences) {
  std::vector<int> ends;
  for (const models::Sequence& s : sequences)
    ends.push_back((ends.empty() ? 0 : ends.back()) + static_cast<int>(s.ids.size()));
  return ends;
}

/// Whether every row's likeliest class is its answer, and the rows' mean −ln p of it. `never`: no class is that one.
PruneOutcome read_rows(const Tensor& logits, std::size_t first, std::span<const int> answers, int never, bool all) {
  double loss = 0, right = 0;
  for (std::size_t r = 0; r < answers.size(); ++r) {
    const std::span row = row_of(logits, first + r);
    loss -= log_probability(row, static_cast<std::size_t>(answers[r]));
    std::size_t best = likeliest(row);
    if (never >= 0 && best == static_cast<std::size_t>(never)) {
      std::vector<float> rest(row.begin(), row.end());
      rest[best] = -std::numeric_limits<float>::infinity();
      best = likeliest(rest);
    }
    right += best == static_cast<std::size_t>(answers[r]);
  }
  const auto n = static_cast<double>(answers.size());
  return {all ? static_cast<double>(right == n) : right / n, loss / n};
}

/// The rows at which one example is asked, and what it should answer there.
struct Asked {
  std::vector<int> rows;
  std::span<const int> answers;
};

/// read_rows() of each; logits(rows) of some of them at a time, since a vocabulary is wide.
template <class Logits>
std::vector<PruneOutcome> read_in_parts(const std::vector<Asked>& asked, int never, bool all, const Logits& logits) {
  constexpr std::size_t kRows = 512;
  std::vector<PruneOutcome> outcomes;
  for (std::size_t first = 0; first < asked.size();) {
    std::vector<int> rows;
    std::size_t last = first;
    while (last < asked.size() && (last == first || rows.size() + asked[last].rows.size() <= kRows))
      std::ranges::copy(asked[last++].rows, std::back_inserter(rows));
    const Tensor part = logits(rows);  // [rows, classes]
    for (std::size_t row = 0; first < last; row += asked[first++].answers.size())
      outcomes.push_back(read_rows(part, row, asked[first].answers, never, all));
  }
  return outcomes;
}

// ------------------------------------------------------------------------------------------------------------- reading

/// What the encoder is asked about a text.
struct Question {
  models::Sequence sequence;
  std::vector<int> positions, answers;  // of words; of a label one answer and no position; of a vector none
};

class AnswerTask final : public PruneTask {
 public:
  enum class Asks { Words, Label, Vector };
  AnswerTask(const ModelParts& model, Asks asks, std::vector<Question> questions, std::size_t ranking, bool shared)
      : PruneTask(ranking, shared), model_(model), asks_(asks), questions_(std::move(questions)) {
    models::Pass pass;
    pass.record_attention = true;
    heads_ = heads_of_records(model.encoder->forward({&questions_.front().sequence, 1}, pass).layers);
    if (asks == Asks::Label || asks == Asks::Words)
      answer();
    else
      for (const Question& q : questions_)
        vectors_.push_back(model.pooling()(model.encoder->forward({&q.sequence, 1})));
  }
  std::string_view metric() const override { return asks_ == Asks::Vector ? "cosine" : "agreement"; }
  std::vector<PrunedHead> heads() const override { return heads_; }
  bool has_slope() const override { return asks_ != Asks::Vector; }

 protected:
  std::size_t examples() const override { return questions_.size(); }
  std::size_t tokens(std::size_t example) const override { return questions_[example].sequence.ids.size(); }

  std::vector<PruneOutcome> run(std::span<const Job> jobs) const override {
    const models::Result result = forward(jobs, nullptr);
    std::vector<PruneOutcome> outcomes;
    if (asks_ == Asks::Vector) {
      const Tensor pooled = model_.pooling()(result);  // [jobs, width]
      for (std::size_t i = 0; i < jobs.size(); ++i) {
        const double cosine = cosine_of(row_of(vectors_[jobs[i].example], 0), row_of(pooled, i));
        outcomes.push_back({cosine, 1 - cosine});
      }
      return outcomes;
    }
    std::vector<Asked> asked;
    for (std::size_t i = 0; i < jobs.size(); ++i)
      asked.push_back({rows_of(result, jobs, i), questions_[jobs[i].example].answers});
    if (asks_ == Asks::Words)
      return read_in_parts(asked, -1, false, [&](std::span<const int> rows) {
        return model_.encoder->vocabulary_logits(embedding(result.hidden, rows));
      });
    const Tensor logits = model_.encoder->class_logits(result);  // [jobs, labels]
    for (std::size_t i = 0; i < jobs.size(); ++i) outcomes.push_back(read_rows(logits, i, asked[i].answers, -1, false));
    return outcomes;
  }

  std::pair<Tensor, std::map<std::string, std::vector<int>>> recorded(std::span<const Job> jobs,
                                                                      HeadWatch& watch) const override {
    const models::Result result = forward(jobs, &watch);
    std::vector<int> answers;
    for (const Job& j : jobs)
      answers.insert(answers.end(), questions_[j.example].answers.begin(), questions_[j.example].answers.end());
    const Tensor loss = cross_entropy(logits_of(result, jobs), answers);
    return {scale(loss, static_cast<double>(answers.size())), {{"encoder", result.ends}}};
  }

 private:
  static double cosine_of(std::span<const float> a, std::span<const float> b) {
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t c = 0; c < a.size(); ++c) {
      const double x = static_cast<double>(a[c]), y = static_cast<double>(b[c]);
      ab += x * y, aa += x * x, bb += y * y;
    }
    return ab / std::sqrt(aa * bb);
  }

  models::Result forward(std::span<const Job> jobs, HeadWatch* watch) const {
    std::vector<models::Sequence> sequences;
    std::vector<const HeadSet*> without;
    for (const Job& j : jobs) sequences.push_back(questions_[j.example].sequence), without.push_back(j.without);
    models::Pass pass;
    pass.heads = silencing(without, row_ends(sequences), "encoder");
    if (watch) pass.heads = watch->watching("encoder", pass.heads);
    return model_.encoder->forward(sequences, pass);
  }

  /// Where job i is asked, among all rows.
  std::vector<int> rows_of(const models::Result& result, std::span<const Job> jobs, std::size_t i) const {
    std::vector<int> rows = questions_[jobs[i].example].positions;
    for (int& r : rows) r += i == 0 ? 0 : result.ends[i - 1];
    return rows;
  }

  /// Logits of all jobs' answers, one below the other.
  Tensor logits_of(const models::Result& result, std::span<const Job> jobs) const {
    if (asks_ == Asks::Label) return model_.encoder->class_logits(result);
    std::vector<int> rows;
    for (std::size_t i = 0; i < jobs.size(); ++i) std::ranges::copy(rows_of(result, jobs, i), std::back_inserter(rows));
    return model_.encoder->vocabulary_logits(embedding(result.hidden, rows));
  }

  /// What the whole model says is what the pruned one is to say.
  void answer() {
    const HeadSet none;
    for (std::size_t i = 0; i < questions_.size(); ++i) {
      const Job job{&none, i};
      const Tensor logits = logits_of(forward({&job, 1}, nullptr), {&job, 1});
      for (std::size_t r = 0; r < static_cast<std::size_t>(logits.shape()[0]); ++r)
        questions_[i].answers.push_back(static_cast<int>(likeliest(row_of(logits, r))));
    }
  }

  const ModelParts& model_;
  Asks asks_;
  std::vector<Question> questions_;
  std::vector<PrunedHead> heads_;
  std::vector<Tensor> vectors_;  // [1, width] each, of the whole model
};

// ------------------------------------------------------------------------------------------------------------- writing

class WriteTask final : public PruneTask {
 public:
  WriteTask(const models::EncoderDecoder& model, std::vector<WritingPair> pairs, std::size_t ranking)
      : PruneTask(ranking, false), model_(model), special_(model.target_tokens()) {
    for (WritingPair& p : pairs) {
      sources_.push_back({std::move(p.first), {}});
      targets_.push_back({{special_.start}, {}});
      targets_.back().ids.insert(targets_.back().ids.end(), p.second.begin(), p.second.end());
      answers_.push_back(std::move(p.second));
      answers_.back().push_back(special_.end);
    }
    models::DecoderPass pass;
    pass.record_attention = true;
    const models::Result read = model.encode({&sources_.front(), 1}, pass);
    heads_ = heads_of_records(read.layers);
    const models::Result written = model.decode(read, {&targets_.front(), 1}, pass);
    const std::vector<PrunedHead> more = heads_of_records(written.layers);
    heads_.insert(heads_.end(), more.begin(), more.end());
  }
  std::string_view metric() const override { return "exact_match"; }
  std::vector<PrunedHead> heads() const override { return heads_; }
  bool has_slope() const override { return true; }

 protected:
  std::size_t examples() const override { return sources_.size(); }
  std::size_t tokens(std::size_t i) const override { return sources_[i].ids.size() + targets_[i].ids.size(); }

  std::vector<PruneOutcome> run(std::span<const Job> jobs) const override {
    const models::Result written = decode(jobs, nullptr).written;
    std::vector<Asked> asked;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const int begin = i == 0 ? 0 : written.ends[i - 1];
      asked.push_back({std::vector<int>(static_cast<std::size_t>(written.ends[i] - begin)), answers_[jobs[i].example]});
      std::iota(asked.back().rows.begin(), asked.back().rows.end(), begin);
    }
    return read_in_parts(asked, special_.pad, true, [&](std::span<const int> rows) {
      return model_.vocabulary_logits(embedding(written.hidden, rows));
    });
  }

  std::pair<Tensor, std::map<std::string, std::vector<int>>> recorded(std::span<const Job> jobs,
                                                                      HeadWatch& watch) const override {
    const Passes passes = decode(jobs, &watch);
    std::vector<int> answers;
    for (const Job& j : jobs) answers.insert(answers.end(), answers_[j.example].begin(), answers_[j.example].end());
    const Tensor loss = cross_entropy(model_.vocabulary_logits(passes.written.hidden), answers);
    return {scale(loss, static_cast<double>(answers.size())),
            {{"encoder", passes.read.ends}, {"decoder", passes.written.ends}, {"cross", passes.written.ends}}};
  }

 private:
  struct Passes {
    models::Result read, written;
  };
  Passes decode(std::span<const Job> jobs, HeadWatch* watch) const {
    std::vector<models::Sequence> sources, targets;
    std::vector<const HeadSet*> without;
    for (const Job& j : jobs)
      sources.push_back(sources_[j.example]), targets.push_back(targets_[j.example]), without.push_back(j.without);
    const auto edit = [&](const char* kind, const std::vector<models::Sequence>& queries) {
      HeadWatch::Edit silence = silencing(without, row_ends(queries), kind);
      return watch ? watch->watching(kind, std::move(silence)) : silence;
    };
    models::Pass reading;
    reading.heads = edit("encoder", sources);
    models::DecoderPass writing;
    writing.heads = edit("decoder", targets), writing.cross_heads = edit("cross", targets);
    models::Result read = model_.encode(sources, reading);
    models::Result written = model_.decode(read, targets, writing);
    return {std::move(read), std::move(written)};
  }

  const models::EncoderDecoder& model_;
  models::TargetTokens special_;
  std::vector<models::Sequence> sources_, targets_;
  std::vector<std::vector<int>> answers_;  // with the token that ends them
  std::vector<PrunedHead> heads_;
};

}  // namespace

std::unique_ptr<PruneTask> reading_task(const ModelParts& model, std::span<const std::string> texts) {
  if (texts.empty()) throw Error("prune: there are no texts to judge the model by; give at least one");
  const bool words = model.encoder->predicts_vocabulary();
  const std::size_t labels = model.encoder->labels().size();
  const bool label = !words && labels > 0 && outcome_of(model.folder, labels) == Outcome::OneOf;
  const std::optional<MaskToken> mask = words ? std::optional(model.reader.mask()) : std::nullopt;
  std::vector<Question> ranking, judging;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const look::Reading reading = model.reader.read(texts[i], {}, TooLong::Refuse, fmt::format("text {}", i + 1));
    Question q{reading.sequence, {}, {}};
    const auto hidden = [&](const Token& t) { return mask && t.id == mask->id; };
    const bool masked = std::ranges::any_of(reading.tokens, hidden);
    for (const Token& t : reading.tokens)
      if (words && (masked ? hidden(t) : !t.special)) q.positions.push_back(t.index);
    if (words && q.positions.empty()) throw Error(fmt::format("text {} has no words to be asked about", i + 1));
    (i % 2 == 0 ? judging : ranking).push_back(std::move(q));
  }
  const bool shared = ranking.empty();
  if (shared) ranking = std::move(judging), judging.clear();
  const std::size_t count = ranking.size();
  std::ranges::move(judging, std::back_inserter(ranking));
  using Asks = AnswerTask::Asks;
  return std::make_unique<AnswerTask>(model,
                                      words   ? Asks::Words
                                      : label ? Asks::Label
                                              : Asks::Vector,
                                      std::move(ranking), count, shared);
}

std::unique_ptr<PruneTask> writing_task(const models::EncoderDecoder& model, std::vector<WritingPair> ranking,
                                        std::vector<WritingPair> judging) {
  if (ranking.empty() || judging.empty())
    throw Error("prune: there must be texts to rank heads by and others to judge the model by; give at least two");
  const std::size_t count = ranking.size();
  std::ranges::move(judging, std::back_inserter(ranking));
  return std::make_unique<WriteTask>(model, std::move(ranking), count);
}

}  // namespace fovea::look
