#include "look/head_scores.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include <fmt/format.h>

#include <fovea/threads.hpp>
#include <fovea/trace.hpp>

#include "look/slopes.hpp"

namespace fovea::look {

std::vector<HeadScore> importance(const Original& run, const Metric& metric) {
  const std::vector<Tensor> slopes = slopes_of(run, metric);
  if (slopes.empty())
    throw Error(
        fmt::format("importance: {} has no slope here: it wants a model that answers with words or labels (a "
                    "translator, a text with a mask, a classifier); measure --all heads measures any",
                    metric.name()));
  std::vector<HeadScore> scores;
  for (std::size_t l = 0; l < slopes.size(); ++l) {
    const models::LayerRecord& record = *run.records[l];
    const Tensor out = record.attention.out.to(DType::F32);  // [1, tokens, heads, value_dim]
    const std::int64_t heads = out.shape()[2], dim = out.shape()[3];
    std::vector<double> sums(static_cast<std::size_t>(heads));
    for (std::int64_t i = 0; i < out.elements(); ++i)
      sums[static_cast<std::size_t>(i / dim % heads)] +=
          static_cast<double>(out.data<float>()[i]) * static_cast<double>(slopes[l].data<float>()[i]);
    for (std::size_t h = 0; h < sums.size(); ++h)
      scores.push_back({record.kind, record.layer, static_cast<int>(h), std::abs(sums[h])});
  }
  return scores;
}

std::vector<double> block_scores(const models::LayerRecord& record, int sequences, int begin, int block) {
  std::vector<double> scores(static_cast<std::size_t>(record.q.shape()[2]));
  parallel_for(std::ssize(scores), [&](std::int64_t h) {
    double sum = 0, count = 0;
    for (int i = 0; i < sequences; ++i) {
      TraceQuery query{.batch = i, .head = static_cast<int>(h)};
      query.queries = {begin + block, begin + 2 * block};
      query.offsets = {1 - block};
      for (const float a : trace(record.attention, query).at) sum += static_cast<double>(a), ++count;
    }
    scores[static_cast<std::size_t>(h)] = sum / count;
  });
  return scores;
}

namespace {

constexpr int kTexts = 4, kLongestBlock = 32;

/// Ids of words: whatever the tokenizer does not call special.
std::vector<int> words_of_vocabulary(const ModelParts& model) {
  std::vector<int> all(static_cast<std::size_t>(model.encoder->summary().vocabulary)), words;
  std::iota(all.begin(), all.end(), 0);
  std::erase_if(all, [&](int id) { return model.reader.piece(id).empty(); });  // vocabularies are rounded up
  std::vector<Token> tokens;
  model.reader.written(all, tokens);
  for (const Token& t : tokens)
    if (!t.special) words.push_back(t.id);
  return words;
}

/// One text: what the tokenizer puts before and behind, and between them a block twice.
struct Repeated {
  models::Sequence sequence;
  int begin = 0, block = 0;  // where the first one starts
};
Repeated repeated_block(const std::vector<int>& front, const std::vector<int>& words, const std::vector<int>& back,
                        int block, std::mt19937_64& random) {
  Repeated r{{front, {}}, static_cast<int>(front.size()), block};
  std::vector<int>& ids = r.sequence.ids;
  for (int i = 0; i < block; ++i) ids.push_back(words[random() % words.size()]);
  for (int i = 0; i < block; ++i) ids.push_back(ids[static_cast<std::size_t>(r.begin + i)]);
  ids.insert(ids.end(), back.begin(), back.end());
  return r;
}

void add_scores(std::span<const models::LayerRecord> records, std::span<const Repeated> texts,
                std::vector<HeadScore>& scores) {
  for (const models::LayerRecord& record : records) {
    if (record.kind == "cross") continue;
    const auto& [sequence, begin, block] = texts.front();  // all alike
    const std::vector<double> found = block_scores(record, static_cast<int>(texts.size()), begin, block);
    for (std::size_t h = 0; h < found.size(); ++h)
      scores.push_back({record.kind, record.layer, static_cast<int>(h), found[h]});
  }
}

}  // namespace

std::vector<HeadScore> induction(const ModelParts& model, std::uint64_t seed) {
  const std::vector<int> words = words_of_vocabulary(model);
  std::vector<int> front, back;  // [CLS] and [SEP], </s>, …
  const std::vector<Token> added = model.reader.read("", {}, TooLong::Refuse, "an empty text").tokens;
  for (const Token& t : added) (front.empty() && added.size() > 1 ? front : back).push_back(t.id);
  const int room = model.encoder->summary().positions - static_cast<int>(front.size() + back.size());
  const int block = std::min(kLongestBlock, room / 2);
  if (block < 2 || words.empty()) throw Error("induction: the model has no room for a few words said twice");
  std::mt19937_64 random(seed);
  std::vector<Repeated> texts;
  std::vector<models::Sequence> sources;
  for (int i = 0; i < kTexts; ++i) {
    texts.push_back(repeated_block(front, words, back, block, random));
    sources.push_back(texts.back().sequence);
  }
  models::DecoderPass pass;
  pass.record_attention = true;
  std::vector<HeadScore> scores;
  const models::Result read = model.encoder->forward(sources, pass);
  add_scores(read.layers, texts, scores);
  if (!model.writer) return scores;
  std::vector<Repeated> targets;
  std::vector<models::Sequence> written;
  for (int i = 0; i < kTexts; ++i) {
    targets.push_back(repeated_block({model.writer->target_tokens().start}, words, {}, block, random));
    written.push_back(targets.back().sequence);
  }
  add_scores(model.writer->decode(read, written, pass).layers, targets, scores);
  return scores;
}

}  // namespace fovea::look
