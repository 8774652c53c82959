#include "demo/vocabulary.hpp"

#include <array>

#include <fmt/format.h>

#include <fovea/error.hpp>

namespace fovea::demo {
namespace {

/// Whether French elides before the word. Every h of this lexicon is mute (a word with an aspirated one, hibou, would
/// need a mark in its table), and no word begins with y except in plurals, before which nothing elides.
bool elides(std::string_view text) {
  static constexpr std::array<std::string_view, 18> kOpenings = {"a", "e", "i", "o", "u", "h", "à", "â", "ä",
                                                                 "é", "è", "ê", "ë", "î", "ï", "ô", "û", "œ"};
  for (const auto opening : kOpenings)
    if (text.starts_with(opening) || text.starts_with(capitalised(opening))) return true;
  return false;
}

}  // namespace

std::string capitalised(std::string_view text) {
  std::string out(text);
  if (out.empty()) return out;
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  if (lower(out[0]))
    out[0] = static_cast<char>(out[0] - 'a' + 'A');
  else if (text.starts_with("œ"))
    out.replace(0, 2, "Œ");
  else if (out.size() > 1 && out[0] == '\xc3' && static_cast<unsigned char>(out[1]) >= 0xa0)
    out[1] = static_cast<char>(out[1] - 0x20);  // U+00E0–U+00FE
  return out;
}

Vocabulary::Vocabulary() {
  for (const char* special : {"<pad>", "</s>", "<unk>"}) add(special);
}

Word Vocabulary::add(std::string_view text) {
  if (const auto at = ids_.find(text); at != ids_.end()) return at->second;
  const Word word = static_cast<Word>(texts_.size());
  if (word == kNoWord) throw Error("demo lexicon: more than 65,535 words");
  texts_.emplace_back(text);
  capital_.push_back(kNoWord);
  before_vowel_.push_back(kNoWord);
  vowel_.push_back(elides(text));
  ids_.emplace(text, word);
  return word;
}

void Vocabulary::add_capital(Word word) {
  const Word capital = add(capitalised(texts_[word]));
  capital_[word] = capital;
}

void Vocabulary::add_before_vowel(Word word, Word elided) {
  before_vowel_[word] = elided;
  if (capital_[word] != kNoWord && capital_[elided] != kNoWord) before_vowel_[capital_[word]] = capital_[elided];
}

Word Vocabulary::id(std::string_view text) const {
  const auto at = ids_.find(text);
  if (at == ids_.end())
    throw Error(
        fmt::format("demo lexicon: the grammar asks for the word \"{}\", which is in no table; add it to "
                    "function_words.tsv",
                    text));
  return at->second;
}

Word Vocabulary::capital(Word word) const {
  if (capital_[word] == kNoWord)
    throw Error(
        fmt::format("demo lexicon: \"{}\" opens a sentence but is not marked so in function_words.tsv", texts_[word]));
  return capital_[word];
}

}  // namespace fovea::demo
