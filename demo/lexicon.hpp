// What the demo language is made of: the tables of lexicon/ as values.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "demo/vocabulary.hpp"

namespace fovea::demo {

enum class Gender : unsigned char { Masculine, Feminine };
/// A set of classes of nouns, one bit a letter: A animal, H human, W way, F food, O object, L what one lies on, B
/// building, X surroundings, M part of a body, S word with two senses.
using Classes = unsigned;
constexpr Classes class_of(char letter) { return 1u << (letter - 'A'); }
constexpr Classes classes_of(std::string_view letters) {
  Classes set = 0;
  for (const char letter : letters) set |= class_of(letter);
  return set;
}

/// The forms of a French adjective or participle.
struct Forms {
  std::array<std::array<Word, 2>, 2> word{};  // [gender][plural]
  Word operator()(Gender gender, bool plural) const { return word[static_cast<std::size_t>(gender)][plural]; }
};

struct Noun {
  std::array<Word, 2> english{};              // [plural]
  std::array<std::vector<Word>, 2> french{};  // [plural]: "rebord de la fenêtre" is four words
  Gender gender = Gender::Masculine;
  char letter = 0;  // its class
  bool single = false, mass = false, container = false, name = false, beside = false;
  std::vector<int> places;                 // prepositions that suit it besides those that suit all
  Word key() const { return english[0]; }  // what splits name it by
};

/// Groups of adjectives; the names in adjectives.tsv.
enum Group : unsigned {
  kLiving = 1,
  kWay = 2,
  kFood = 4,
  kObject = 8,
  kBuilding = 16,
  kAny = 32,
  kColour = 64,
  kFresh = 128,
  kThing = 256,
  kContainer = 512,
  kGround = 1024,
  kWorks = 2048
};

struct Adjective {
  Word english = 0;
  Forms french;
  unsigned groups = 0;
  bool before = false;
  Word before_vowel = kNoWord;  // masculine singular: vieil
};

struct Transitive {
  Word past = 0, base = 0;
  Forms participle;
  Classes subjects = 0, objects = 0;
};

enum class Auxiliary : unsigned char { Avoir, Etre, Self };
struct Intransitive {
  std::vector<Word> past, base;  // "woke up"
  Forms participle;              // with avoir, only the masculine singular
  Auxiliary auxiliary = Auxiliary::Avoir;
  Classes subjects = 0;
  Word ing = kNoWord;
  std::array<Word, 2> imparfait{};  // [plural]
};

struct Possession {
  Word english = 0, french = 0;
  Gender gender = Gender::Masculine;
  bool plural = false;
  Classes owners = 0;
  bool stretches = false;
};

struct Sense {
  Noun noun;
  std::vector<const Noun*> contexts;         // of its scenes
  std::vector<const Adjective*> adjectives;  // that only this sense of the word has
};
struct TwoSenses {
  Word word = 0;
  std::array<Sense, 2> senses;
};

/// English and French words that are put in whole: "in front of", devant.
struct Phrasing {
  std::vector<Word> english, french;
};

struct Lexicon {
  Vocabulary words;
  std::vector<Noun> nouns;  // names are at the end; nothing is added after loading, so pointers to them hold
  std::vector<Adjective> adjectives;
  std::vector<Transitive> transitive;
  std::vector<Intransitive> intransitive;
  std::vector<Possession> possessions;
  std::vector<Phrasing> possession_verbs;
  std::vector<TwoSenses> two_senses;
  std::vector<Phrasing> adverbs, degrees, times, opinions, prepositions;

  std::vector<const Noun*> of(Classes classes) const;
  std::vector<const Adjective*> of_groups(unsigned groups) const;
  const Noun& noun(std::string_view english) const;  ///< Error when there is none
  int preposition(std::string_view english) const;   ///< Error when there is none
};

/// The one lexicon, read from the embedded tables when first asked for. Error naming table and line when one is wrong.
const Lexicon& lexicon();

}  // namespace fovea::demo
