#include "train/alignment_score.hpp"

#include <algorithm>

#include "demo/vocabulary.hpp"
#include "look/choice.hpp"
#include "look/row_sums.hpp"
#include "look/rows.hpp"
#include "train/forced.hpp"

namespace fovea::train {
namespace {

/// One sentence's attention to its source: rows are French words and </s>, keys English tokens and </s>.
class Links {
 public:
  Links(const models::LayerRecord& cross, int sentence) {
    for (int head = 0; head < cross.q.shape()[2]; ++head) heads_.emplace_back(cross, sentence, head);
    for (const look::HeadRows& rows : heads_) weights_.push_back(rows.weights({0, rows.queries()}));
  }

  /// [rows, keys], as AlignmentReading says.
  std::vector<double> strengths(const AlignmentReading& reading) {
    const auto keys = static_cast<std::size_t>(heads_.front().keys());
    std::vector<double> strength(weights_.front().size());
    if (!reading.norms) {
      for (const int head : reading.heads)
        for (std::size_t i = 0; i < strength.size(); ++i)
          strength[i] += static_cast<double>(weights_[static_cast<std::size_t>(head)][i]);
      return strength;
    }
    if (projected_.empty()) project();
    std::vector<double> sum(static_cast<std::size_t>(heads_.front().width()));
    for (std::size_t i = 0; i < strength.size(); ++i) {
      std::ranges::fill(sum, 0.0);
      for (const int head : reading.heads) {
        const auto h = static_cast<std::size_t>(head);
        const double* from = projected_[h].data() + i % keys * sum.size();
        for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += static_cast<double>(weights_[h][i]) * from[c];
      }
      strength[i] = look::norm(sum);
    }
    return strength;
  }

 private:
  void project() {
    for (const look::HeadRows& rows : heads_) {
      const auto width = static_cast<std::size_t>(rows.width());
      std::vector<double>& all = projected_.emplace_back(static_cast<std::size_t>(rows.keys()) * width);
      for (int key = 0; key < rows.keys(); ++key) {
        const std::span<const float> value = rows.value(key);
        const std::vector<double> exact(value.begin(), value.end());
        rows.add_projected(exact, std::span(all).subspan(static_cast<std::size_t>(key) * width, width));
      }
    }
  }
  std::vector<look::HeadRows> heads_;
  std::vector<std::vector<float>> weights_;     // [heads] of [rows, keys]
  std::vector<std::vector<double>> projected_;  // [heads] of [keys, width]: W_O v_j; empty until norms are asked for
};

/// Adds what these strengths [French words and </s>, keys] link to the score.
void add_links(std::span<const double> strengths, const demo::SentencePair& pair, double share, AlignmentScore& score) {
  const std::size_t keys = pair.english.size() + 1;  // with </s>
  score.gold += std::ssize(pair.links);
  for (std::size_t word = 0; word < pair.french.size(); ++word) {
    const auto row = strengths.subspan(word * keys, keys);
    const double least = share * *std::ranges::max_element(row);
    for (std::size_t key = 0; key < pair.english.size(); ++key) {
      if (row[key] < least) continue;
      ++score.links;
      const demo::Link link{static_cast<std::int16_t>(key), static_cast<std::int16_t>(word)};
      score.both += std::ranges::binary_search(pair.links, link);
    }
  }
}

/// Readings of one layer, for one sentence of its record; those that differ in their share alone stand side by side.
void add_readings(const models::LayerRecord& cross, int sentence, const demo::SentencePair& pair,
                  std::span<const AlignmentReading> readings, std::span<AlignmentScore> scores) {
  Links links(cross, sentence);
  std::vector<double> strengths;
  const AlignmentReading* last = nullptr;
  for (std::size_t r = 0; r < readings.size(); ++r) {
    if (readings[r].layer != cross.layer) continue;
    if (last == nullptr || last->norms != readings[r].norms || last->heads != readings[r].heads)
      strengths = links.strengths(readings[r]);
    last = &readings[r];
    add_links(strengths, pair, readings[r].share, scores[r]);
  }
}

/// Every set of that many heads; of more than six, each alone and all of them.
std::vector<std::vector<int>> sets_of(int heads) {
  std::vector<std::vector<int>> sets;
  for (unsigned bits = 1; heads <= 6 && bits < 1u << heads; ++bits) {
    sets.emplace_back();
    for (int head = 0; head < heads; ++head)
      if (bits >> head & 1) sets.back().push_back(head);
  }
  if (sets.empty()) {
    sets.push_back(look::all_below(heads));
    for (int head = 0; head < heads; ++head) sets.push_back({head});
  }
  return sets;
}

}  // namespace

double AlignmentScore::error_rate() const {
  return links + gold == 0 ? 0 : 1 - 2 * static_cast<double>(both) / static_cast<double>(links + gold);
}

std::vector<AlignmentScore> score_alignment(const models::EncoderDecoder& model,
                                            std::span<const demo::SentencePair> pairs,
                                            std::span<const AlignmentReading> readings) {
  constexpr std::size_t kBatch = 64;
  std::vector<AlignmentScore> scores(readings.size());
  for (std::size_t first = 0; first < pairs.size(); first += kBatch) {
    const auto batch = pairs.subspan(first, std::min(kBatch, pairs.size() - first));
    std::vector<models::Sequence> sources, targets;
    for (const demo::SentencePair& p : batch)
      sources.push_back(source_of(p)), targets.push_back(target_of(p, model.target_tokens()));
    models::DecoderPass pass;
    pass.record_attention = true;
    const models::Result written = model.decode(model.encode(sources), targets, pass);
    for (const models::LayerRecord& record : written.layers)
      for (std::size_t i = 0; record.kind == "cross" && i < batch.size(); ++i)
        add_readings(record, static_cast<int>(i), batch[i], readings, scores);
  }
  return scores;
}

AlignmentReading choose_reading(const models::EncoderDecoder& model) {
  constexpr int kSentences = 400;
  const demo::Corpus corpus = demo::make_corpus(1, kSentences);
  const models::Sequence source = source_of(corpus.pairs.front());
  const models::Sequence target = target_of(corpus.pairs.front(), model.target_tokens());
  models::DecoderPass pass;
  pass.record_attention = true;
  const models::Result written = model.decode(model.encode({&source, 1}), {&target, 1}, pass);  // tells how many heads
  std::vector<AlignmentReading> readings;
  for (const models::LayerRecord& record : written.layers) {
    if (record.kind != "cross") continue;
    for (const std::vector<int>& heads : sets_of(static_cast<int>(record.q.shape()[2])))
      for (const bool norms : {false, true})
        for (const double share : {1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12})
          readings.push_back({record.layer, heads, norms, share});
  }
  const std::vector<AlignmentScore> scores = score_alignment(model, corpus.pairs, readings);
  const auto best = std::ranges::min_element(scores, {}, &AlignmentScore::error_rate);
  return readings[static_cast<std::size_t>(best - scores.begin())];
}

}  // namespace fovea::train
