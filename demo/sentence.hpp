// A sentence and its translation, with what is known about them: which words correspond, what a pronoun refers to.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "demo/split.hpp"

namespace fovea::demo {

enum class Kind : unsigned char { Coreference, Fit, Sense, Possessive, Question, Agreement, Generic, Long };
std::string_view name_of(Kind kind);

/// English token `english` and French token `french` correspond.
struct Link {
  std::int16_t english, french;
  auto operator<=>(const Link&) const = default;
};

enum class MarkKind : unsigned char { Pronoun, Sense, Possessive };
std::string_view name_of(MarkKind kind);

/// A word whose translation is decided elsewhere in the sentence. Positions are tokens of the English sentence; −1:
/// none.
struct Mark {
  MarkKind kind = MarkKind::Pronoun;
  int token = -1;     // it, they, he, she | the word with two senses | its, his, her
  int source = -1;    // the noun it refers to | the context (noun or adjective) | the owner
  int other = -1;     // the noun that it could refer to, but doesn't | – | the thing owned
  int deciding = -1;  // the adjective that decides | – | –
  int french = -1;    // position of its translation in the French sentence
  Word right = kNoWord;
  Word wrong = kNoWord;  // what it would be for the other noun, sense or gender; kNoWord when that is the same word
};

struct HeldOut {
  Family family;
  Word a, b;
};

struct SentencePair {
  Kind kind = Kind::Generic;
  std::vector<Word> english, french;  // [tokens]: ids of the vocabulary, without </s>
  std::vector<Link> links;            // sorted
  std::vector<Mark> marks;
  std::vector<HeldOut> held_out;  // the combinations in it that training never shows
};

std::string english_text(const SentencePair& pair);
std::string french_text(const SentencePair& pair);
/// Tokens as a reader writes them: "l'animal n'a pas", no space before a full stop or comma; French keeps one before
/// "?".
std::string text_of(const std::vector<Word>& tokens, bool french);

}  // namespace fovea::demo
