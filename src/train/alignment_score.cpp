#include "train/alignment_score.hpp"

#include <algorithm>

#include "demo/vocabulary.hpp"
#include "look/choice.hpp"
#include "look/rows.hpp"
#include "train/forced.hpp"

namespace fovea::train {
namespace {

/// Adds the links of sentence `at` of a batch to the score.
void add_links(const models::LayerRecord& cross, int at, const demo::SentencePair& pair,
               const AlignmentReading& reading, AlignmentScore& score) {
  const std::size_t keys = pair.english.size() + 1;  // with </s>
  std::vector<double> sum;                           // [French words and </s>, keys]
  for (const int head : reading.heads) {
    const look::HeadRows rows(cross, at, head);
    const std::vector<float> weights = rows.weights({0, rows.queries()});
    sum.resize(weights.size());
    for (std::size_t i = 0; i < weights.size(); ++i) sum[i] += static_cast<double>(weights[i]);
  }
  score.gold += std::ssize(pair.links);
  for (std::size_t word = 0; word < pair.french.size(); ++word) {
    const auto row = std::span(sum).subspan(word * keys, keys);
    const double least = reading.share * *std::ranges::max_element(row);
    for (std::size_t key = 0; key < pair.english.size(); ++key) {
      if (row[key] < least) continue;
      ++score.links;
      const demo::Link link{static_cast<std::int16_t>(key), static_cast<std::int16_t>(word)};
      score.both += std::ranges::binary_search(pair.links, link);
    }
  }
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
      for (std::size_t r = 0; record.kind == "cross" && r < readings.size(); ++r)
        for (std::size_t i = 0; record.layer == readings[r].layer && i < batch.size(); ++i)
          add_links(record, static_cast<int>(i), batch[i], readings[r], scores[r]);
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
    const std::vector<int> all = look::all_below(static_cast<int>(record.q.shape()[2]));
    for (const double share : {1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12}) {
      for (const int head : all) readings.push_back({record.layer, {head}, share});
      readings.push_back({record.layer, all, share});
    }
  }
  const std::vector<AlignmentScore> scores = score_alignment(model, corpus.pairs, readings);
  const auto best = std::ranges::min_element(scores, {}, &AlignmentScore::error_rate);
  return readings[static_cast<std::size_t>(best - scores.begin())];
}

}  // namespace fovea::train
