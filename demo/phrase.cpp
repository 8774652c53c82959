#include "demo/phrase.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <fovea/error.hpp>

namespace fovea::demo {
namespace {

struct Contraction {
  Word first, second, together;
};

/// de le → du, de les → des; but de l'animal: not where le is about to elide.
void contract(const Vocabulary& words, std::vector<FrenchWord>& french) {
  const Contraction kinds[] = {{words.id("de"), words.id("le"), words.id("du")},
                               {words.id("de"), words.id("les"), words.id("des")}};
  std::size_t out = 0;
  for (std::size_t i = 0; i < french.size(); ++i) {
    FrenchWord word = french[i];
    for (const auto& [first, second, together] : kinds) {
      if (word.word != first || i + 1 == french.size() || french[i + 1].word != second) continue;
      const bool elides =
          words.before_vowel(second) != second && i + 2 < french.size() && words.begins_with_vowel(french[i + 2].word);
      if (elides) continue;
      word.word = together;
      word.from.add(french[++i].from);
      break;
    }
    french[out++] = word;
  }
  french.resize(out, {0, {}});
}

/// From right to left: "de" before "l'" sees the word as it will stand.
void elide(const Vocabulary& words, std::vector<FrenchWord>& french) {
  for (std::size_t i = french.size() - 1; i-- > 0;)
    if (words.begins_with_vowel(french[i + 1].word)) french[i].word = words.before_vowel(french[i].word);
}

void choose_an(const Vocabulary& words, std::vector<Token>& english) {
  const Word a = words.id("a"), an = words.id("an");
  for (std::size_t i = 0; i + 1 < english.size(); ++i)
    if (english[i].word == a &&
        std::string_view("aeiou").find(words.text(english[i + 1].word)[0]) != std::string_view::npos)
      english[i].word = an;
}

/// The first word, and what follows a full stop.
template <class Item>
void capitalise(const Vocabulary& words, std::vector<Item>& items) {
  const Word stop = words.id(".");
  for (std::size_t i = 0; i < items.size(); ++i)
    if (i == 0 || items[i - 1].word == stop) items[i].word = words.capital(items[i].word);
}

void put_marks(const Vocabulary& words, std::span<const MarkDraft> drafts, const std::vector<int>& position,
               SentencePair& pair) {
  const auto at = [&](std::int16_t serial) { return serial < 0 ? -1 : position[static_cast<std::size_t>(serial)]; };
  for (const MarkDraft& d : drafts) {
    Mark m{d.kind, at(d.token), at(d.source), at(d.other), at(d.deciding)};
    for (const Link& link : pair.links)
      if (link.english == m.token) m.french = link.french;  // a marked word has one translation
    m.right = pair.french[static_cast<std::size_t>(m.french)];
    const bool opens = m.french == 0 || pair.french[static_cast<std::size_t>(m.french - 1)] == words.id(".");
    if (d.wrong != kNoWord) {
      const auto next = static_cast<std::size_t>(m.french + 1);
      const bool elides = next < pair.french.size() && words.begins_with_vowel(pair.french[next]);
      m.wrong = elides ? words.before_vowel(d.wrong) : d.wrong;
      if (m.wrong == m.right) m.wrong = kNoWord;  // son oreille, son arc: both genders say son
      if (opens && m.wrong != kNoWord) m.wrong = words.capital(m.wrong);
    }
    pair.marks.push_back(m);
  }
}

}  // namespace

void Refs::add(std::int16_t serial) {
  if (std::find(begin(), end(), serial) != end()) return;
  if (count_ == static_cast<int>(at_.size()))
    throw Error("demo grammar: a French word comes from more than five English tokens");
  at_[static_cast<std::size_t>(count_++)] = serial;
}

void Refs::add(const Refs& other) {
  for (const std::int16_t serial : other) add(serial);
}

void Phrase::append(const Phrase& next) {
  english.insert(english.end(), next.english.begin(), next.english.end());
  french.insert(french.end(), next.french.begin(), next.french.end());
}

SentencePair finish(const Lexicon& lexicon, Phrase phrase, Kind kind, std::span<const MarkDraft> marks,
                    std::vector<HeldOut> held_out) {
  const Vocabulary& words = lexicon.words;
  contract(words, phrase.french);
  elide(words, phrase.french);
  choose_an(words, phrase.english);
  capitalise(words, phrase.english);
  capitalise(words, phrase.french);

  SentencePair pair;
  pair.kind = kind;
  pair.held_out = std::move(held_out);
  std::vector<int> position;  // [serials] → English position
  for (const Token& t : phrase.english) {
    const auto serial = static_cast<std::size_t>(t.serial);
    if (position.size() <= serial) position.resize(serial + 1, -1);
    position[serial] = static_cast<int>(pair.english.size());
    pair.english.push_back(t.word);
  }
  std::vector<bool> linked(pair.english.size(), false);
  for (const FrenchWord& f : phrase.french) {
    if (f.from.begin() == f.from.end())
      throw Error(fmt::format("demo grammar: \"{}\" comes from no English token", words.text(f.word)));
    for (const std::int16_t serial : f.from) {
      const int at = position.at(static_cast<std::size_t>(serial));
      linked[static_cast<std::size_t>(at)] = true;
      pair.links.push_back({static_cast<std::int16_t>(at), static_cast<std::int16_t>(pair.french.size())});
    }
    pair.french.push_back(f.word);
  }
  if (const auto lost = std::find(linked.begin(), linked.end(), false); lost != linked.end())
    throw Error(fmt::format("demo grammar: \"{}\" leads to no French word",
                            words.text(pair.english[static_cast<std::size_t>(lost - linked.begin())])));
  std::sort(pair.links.begin(), pair.links.end());
  put_marks(words, marks, position, pair);
  return pair;
}

}  // namespace fovea::demo
