#include "train/film.hpp"

#include <algorithm>
#include <iterator>

#include <fovea/error.hpp>

#include "demo/corpus.hpp"
#include "demo/lexicon.hpp"
#include "ops/embedding.hpp"

namespace fovea::train {
namespace {

std::vector<demo::Word> words_of(std::initializer_list<const char*> texts) {
  std::vector<demo::Word> words;
  for (const char* text : texts) words.push_back(demo::lexicon().words.id(text));
  return words;
}

int place_of(const std::vector<demo::Word>& words, const char* text) {
  return static_cast<int>(std::ranges::find(words, demo::lexicon().words.id(text)) - words.begin());
}

}  // namespace

Film::Question Film::question_of(const demo::SentencePair& pair, const demo::Mark& mark) {
  Question q{.source = {{pair.english.begin(), pair.english.end()}, {}, 0},
             .target = {{demo::kPad}, {}, 0},
             .it = mark.token,
             .noun = mark.source,
             .row = mark.french,
             .right = mark.right,
             .wrong = mark.wrong};
  q.source.ids.push_back(demo::kEnd);
  q.target.ids.insert(q.target.ids.end(), pair.french.begin(), pair.french.begin() + mark.french);
  return q;
}

Film::Question Film::textbook_question() {
  demo::SentencePair pair;
  pair.english =
      words_of({"The", "animal", "didn't", "cross", "the", "street", "because", "it", "was", "too", "tired", "."});
  pair.french = words_of({"L'", "animal", "n'", "a", "pas", "traversé", "la", "rue", "parce", "qu'", "il", "était",
                          "trop", "fatigué", "."});
  demo::Mark mark;
  mark.token = place_of(pair.english, "it"), mark.source = place_of(pair.english, "animal");
  mark.french = place_of(pair.french, "il");
  mark.right = demo::lexicon().words.id("il"), mark.wrong = demo::lexicon().words.id("elle");
  return question_of(pair, mark);
}

Film::Film(int sentences) {
  for (const demo::EvaluationSet& set : demo::evaluation_sets()) {
    if (set.name != "coreference") continue;
    for (const demo::SentencePair& pair : set.pairs)
      for (const demo::Mark& mark : pair.marks)
        if (mark.kind == demo::MarkKind::Pronoun && mark.wrong != demo::kNoWord &&
            std::cmp_less(questions_.size(), sentences))
          questions_.push_back(question_of(pair, mark));
  }
  questions_.push_back(textbook_question());
}

std::vector<double> Film::log_odds(const models::EncoderDecoder& model, std::span<const Question> questions, bool cut) {
  std::vector<models::Sequence> sources, targets;
  std::vector<int> rows;  // of the decoder's hidden rows
  int begin = 0;
  for (const Question& q : questions) {
    sources.push_back(q.source), targets.push_back(q.target);
    rows.push_back(begin + q.row);
    begin += static_cast<int>(q.target.ids.size());
  }
  models::Pass pass;
  if (cut)
    pass.mask = [questions](int) {
      return AnyMask(mask([questions](Site s) {
        const Question& q = questions[static_cast<std::size_t>(s.batch)];
        return !(s.query == q.it && s.key == q.noun);
      }));
    };
  const models::Result written = model.decode(model.encode(sources, pass), targets);
  const Tensor logits = model.vocabulary_logits(embedding(written.hidden, rows));  // [questions, vocabulary]
  std::vector<double> odds;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const float* row = logits.data<float>() + static_cast<std::int64_t>(i) * logits.shape()[1];
    odds.push_back(double{row[questions[i].right]} - double{row[questions[i].wrong]});
  }
  return odds;
}

Frame Film::picture(const models::EncoderDecoder& model) const {
  Frame frame;
  const std::vector<double> before = log_odds(model, questions_, false), after = log_odds(model, questions_, true);
  const std::size_t sentences = questions_.size() - 1;
  for (std::size_t i = 0; i < sentences; ++i) {
    frame.pronouns += (before[i] > 0) / static_cast<double>(sentences);
    frame.effect += (before[i] - after[i]) / static_cast<double>(sentences);
  }
  frame.textbook_effect = before.back() - after.back();
  const Question& textbook = questions_.back();
  models::Pass pass;
  pass.record_attention = true;
  int heads = 0;
  for (const models::LayerRecord& layer : model.encode(std::span(&textbook.source, 1), pass).layers)
    for (int head = 0; head < layer.q.shape()[2]; ++head, ++heads) {
      const auto row = layer.attention.weights({0, head, textbook.it});
      const double weight = double{row[static_cast<std::size_t>(textbook.noun)]};
      frame.weight += weight, frame.strongest = std::max(frame.strongest, weight);
    }
  if (heads == 0) throw Error("this model's encoder has no attention, so there is nothing to film; take a Transformer");
  frame.weight /= heads;
  return frame;
}

}  // namespace fovea::train
