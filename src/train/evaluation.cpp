#include "train/evaluation.hpp"

#include <algorithm>

#include "demo/lexicon.hpp"
#include "runtime/search.hpp"
#include "train/forced.hpp"

namespace fovea::train {
namespace {

/// Whether a marked word became what it should. Where the translation is as long as the expected one, its place says
/// it; elsewhere the right word must be there and the wrong one must not.
bool is_right(const demo::Mark& mark, const demo::SentencePair& expected, const std::vector<demo::Word>& written) {
  if (written.size() == expected.french.size()) return written[static_cast<std::size_t>(mark.french)] == mark.right;
  const auto count = [](const std::vector<demo::Word>& words, demo::Word w) { return std::ranges::count(words, w); };
  return count(written, mark.right) >= count(expected.french, mark.right) &&
         count(written, mark.wrong) <= count(expected.french, mark.wrong);
}

}  // namespace

std::vector<std::vector<demo::Word>> translate(const models::EncoderDecoder& model,
                                               std::span<const demo::SentencePair> pairs) {
  std::vector<models::Sequence> sources;
  for (const demo::SentencePair& p : pairs) sources.push_back(source_of(p));
  const models::TargetTokens tokens = model.target_tokens();
  runtime::Generation how;
  how.max_length = model.summary().positions;
  how.start = tokens.start, how.ends = {tokens.end}, how.never = {{tokens.pad}};
  std::vector<std::vector<demo::Word>> written;
  for (const auto& best : runtime::write(model, sources, how)) {
    std::vector<demo::Word>& words = written.emplace_back();
    for (const int id : best.front().ids)
      if (id != tokens.start && id != tokens.end) words.push_back(static_cast<demo::Word>(id));
  }
  return written;
}

std::vector<SetScore> evaluate(const models::EncoderDecoder& model, int most,
                               const std::function<void(const SetScore&)>& each) {
  std::vector<SetScore> scores;
  for (const demo::EvaluationSet& set : demo::evaluation_sets()) {
    const auto pairs = std::span(set.pairs).first(std::min(set.pairs.size(), static_cast<std::size_t>(most)));
    SetScore score{set.name, static_cast<int>(pairs.size())};
    const auto written = translate(model, pairs);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      score.exact += written[i] == pairs[i].french;
      for (const demo::Mark& mark : pairs[i].marks)
        if (mark.wrong != demo::kNoWord) ++score.marked, score.right += is_right(mark, pairs[i], written[i]);
    }
    each(score);
    scores.push_back(score);
  }
  return scores;
}

}  // namespace fovea::train
