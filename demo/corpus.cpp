#include "demo/corpus.hpp"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "demo/grammar.hpp"
#include "demo/tables.hpp"

namespace fovea::demo {
namespace {

constexpr std::uint64_t kTrainStream = 1, kEvaluationStream = 2, kOpenStream = 3;
constexpr double kOpen = 0.12;  // of the training sentences end without their mark, as people type them
constexpr std::uint64_t kEvaluationSeed = 5489;  // no parameter: figures of different runs are of the same sentences
constexpr int kEvaluationSize = 400;

struct Share {
  Kind kind;
  int percent;
};
constexpr Share kMix[] = {{Kind::Coreference, 18}, {Kind::Fit, 6},       {Kind::Sense, 24},  {Kind::Possessive, 8},
                          {Kind::Question, 8},     {Kind::Agreement, 6}, {Kind::Generic, 6}, {Kind::Long, 24}};

/// Sentences by a hash of 64 bits: of a quarter of a million, two that fall together by chance are one in half a
/// billion.
class Seen {
 public:
  bool insert(const std::vector<Word>& english) { return hashes_.insert(hash(english)).second; }
  bool contains(const std::vector<Word>& english) const { return hashes_.contains(hash(english)); }

 private:
  static std::uint64_t hash(const std::vector<Word>& words) {
    std::uint64_t h = words.size();
    for (const Word w : words) h = mixed(h + w + 0x9e3779b97f4a7c15u);
    return h;
  }
  std::unordered_set<std::uint64_t> hashes_;
};

/// "The animal didn't …" as tokens: the texts of textbook.tsv are split as the tokenizer does it.
std::vector<Word> tokens_of(std::string_view text) {
  const Vocabulary& words = lexicon().words;
  std::vector<Word> out;
  for (std::string_view part : split_list(text, ' ')) {
    std::string_view mark;
    if (const auto at = part.find_last_not_of(".,?"); at + 1 < part.size())
      mark = part.substr(at + 1), part = part.substr(0, at + 1);
    out.push_back(words.id(part));
    if (!mark.empty()) out.push_back(words.id(mark));
  }
  return out;
}

bool length_between(const SentencePair& pair, int least, int most) {
  const int n = static_cast<int>(pair.english.size());
  return n >= least && n <= most;
}

/// The pronoun, where the sentence has one, tells which noun was meant.
bool tells(const SentencePair& pair) {
  return std::all_of(pair.marks.begin(), pair.marks.end(),
                     [](const Mark& m) { return m.kind != MarkKind::Pronoun || m.wrong != kNoWord; });
}

/// Both languages without the mark at their ends.
void leave_open(SentencePair& pair) {
  const auto last = static_cast<std::int16_t>(pair.english.size() - 1);
  pair.english.pop_back(), pair.french.pop_back();
  std::erase_if(pair.links, [&](const Link& l) { return l.english == last; });
}

class SetMaker {
 public:
  SetMaker() : trained_(lexicon(), the_split(), Mode::Trained), held_out_(lexicon(), the_split(), Mode::HeldOut) {
    for (const TextbookSentence& t : textbook()) seen_.insert(tokens_of(t.english));
  }

  void add(const char* name, Kind kind, Mode mode) {
    fill(
        name, mode, [&](Draw draw) { return of(mode).sentence(draw, kind); },
        [](const SentencePair& p) { return length_between(p, kShortest, kLongest) && tells(p); });
  }
  /// Up to 16 tokens whatever the grammar says of itself; above, clauses joined until the length is there.
  void add_length(int least, int most) {
    const auto name = fmt::format("length_{}_{}", least, most);
    fill(
        name, Mode::Trained,
        [&](Draw draw) {
          const int target = least - 2 + draw.below(most - least + 1);
          return trained_.sentence(draw, most <= 16 ? Kind::Generic : Kind::Long, target);
        },
        [&](const SentencePair& p) { return length_between(p, least, most); });
  }
  std::vector<EvaluationSet> take() { return std::move(sets_); }

 private:
  Grammar& of(Mode mode) { return mode == Mode::Trained ? trained_ : held_out_; }

  template <class Make, class Fits>
  void fill(const std::string& name, Mode mode, Make make, Fits fits) {
    EvaluationSet set{name, mode == Mode::HeldOut, {}};
    for (; static_cast<int>(set.pairs.size()) < kEvaluationSize; ++index_) {
      auto pair = make(Draw(kEvaluationSeed, kEvaluationStream, index_));
      if (pair && fits(*pair) && seen_.insert(pair->english)) set.pairs.push_back(std::move(*pair));
    }
    sets_.push_back(std::move(set));
  }

  Grammar trained_, held_out_;
  Seen seen_;
  std::uint64_t index_ = 0;
  std::vector<EvaluationSet> sets_;
};

Kind kind_for(Draw& draw) {
  int k = draw.below(100);
  for (const auto& [kind, percent] : kMix)
    if ((k -= percent) < 0) return kind;
  throw Error("demo corpus: the mix of kinds is under 100 percent");
}

}  // namespace

Corpus make_corpus(std::uint64_t seed, int pairs) {
  constexpr int kMost = 10'000'000;
  if (pairs < 0 || pairs > kMost) throw Error(fmt::format("demo corpus: {} pairs; 0 to {} can be made", pairs, kMost));
  Seen seen;
  for (const EvaluationSet& set : evaluation_sets())
    for (const SentencePair& pair : set.pairs) seen.insert(pair.english);
  for (const TextbookSentence& t : textbook()) seen.insert(tokens_of(t.english));

  Grammar grammar(lexicon(), the_split(), Mode::Trained);
  Corpus corpus;
  corpus.pairs.reserve(static_cast<std::size_t>(pairs));
  for (std::uint64_t index = 0; static_cast<int>(corpus.pairs.size()) < pairs; ++index) {
    Draw draw(seed, kTrainStream, index);
    const Kind kind = kind_for(draw);
    const int target = 14 + draw.below(kLongest - 3 - 14 + 1);
    auto pair = grammar.sentence(draw, kind, target);
    if (!pair || !length_between(*pair, kShortest, kLongest) || !seen.insert(pair->english)) continue;
    if (Draw(seed, kOpenStream, index).chance(kOpen)) leave_open(*pair);
    corpus.pairs.push_back(std::move(*pair));
  }
  return corpus;
}

const std::vector<EvaluationSet>& evaluation_sets() {
  static const std::vector<EvaluationSet> the = [] {
    SetMaker maker;
    maker.add("coreference", Kind::Coreference, Mode::HeldOut);
    maker.add("fit", Kind::Fit, Mode::HeldOut);
    maker.add("sense", Kind::Sense, Mode::HeldOut);
    maker.add("agreement", Kind::Agreement, Mode::HeldOut);
    maker.add("possessive", Kind::Possessive, Mode::HeldOut);
    maker.add("question", Kind::Question, Mode::HeldOut);
    maker.add("coreference_seen", Kind::Coreference, Mode::Trained);
    maker.add("sense_seen", Kind::Sense, Mode::Trained);
    constexpr int kLengths[][2] = {{4, 8},   {9, 12},  {13, 16}, {17, 20}, {21, 26},
                                   {27, 32}, {33, 38}, {39, 44}, {45, 52}, {53, 60}};
    for (const auto [least, most] : kLengths) maker.add_length(least, most);
    return maker.take();
  }();
  return the;
}

const std::vector<TextbookSentence>& textbook() {
  static const std::vector<TextbookSentence> the = [] {
    std::vector<TextbookSentence> out;
    for (const Row& row : read_table(tables::textbook, "textbook", 2, 2))
      out.push_back({std::string(row[0]), std::string(row[1])});
    return out;
  }();
  return the;
}

}  // namespace fovea::demo
