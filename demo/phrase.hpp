// A phrase under construction in both languages at once. A French word carries the serial numbers of the English tokens
// it comes from, so phrases can be put in any order on either side and the links still hold.
#pragma once
#include <array>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "demo/sentence.hpp"

namespace fovea::demo {

struct Token {
  Word word;
  std::int16_t serial;
};

/// The serials of up to five English tokens: "du" can come from "next to the".
class Refs {
 public:
  Refs() = default;
  Refs(Token token) { add(token.serial); }  // NOLINT: a token stands for its reference
  Refs(std::span<const Token> tokens) {
    for (const Token& t : tokens) add(t.serial);
  }
  void add(std::int16_t serial);
  void add(const Refs& other);
  const std::int16_t* begin() const { return at_.data(); }
  const std::int16_t* end() const { return at_.data() + count_; }

 private:
  std::array<std::int16_t, 5> at_{};
  int count_ = 0;
};

struct FrenchWord {
  Word word;
  Refs from;
};

struct Phrase {
  std::vector<Token> english;
  std::vector<FrenchWord> french;

  void append(const Phrase& next);
  void append(Token token) { english.push_back(token); }
  void append(std::span<const Token> tokens) { english.insert(english.end(), tokens.begin(), tokens.end()); }
  void translate(Word word, Refs from) { french.push_back({word, from}); }
  void translate(std::span<const Word> words, Refs from) {
    for (const Word w : words) french.push_back({w, from});
  }
};

/// What a production says of a Mark, before positions are known.
struct MarkDraft {
  MarkKind kind;
  std::int16_t token, source, other = -1, deciding = -1;
  Word wrong = kNoWord;  // as in the lexicon: not elided, not capitalised
};

/// The last pass: de le → du, la animal → l'animal, a apple → an apple, capitals; then positions, links and marks.
/// Error when a French word comes from no English token, or a token leads to none.
SentencePair finish(const Lexicon& lexicon, Phrase phrase, Kind kind, std::span<const MarkDraft> marks,
                    std::vector<HeldOut> held_out);

}  // namespace fovea::demo
