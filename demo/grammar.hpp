// The productions. Each says a thing in both languages side by side (phrase.hpp) and draws what it says from one Draw.
#pragma once
#include <optional>
#include <vector>

#include "demo/draw.hpp"
#include "demo/phrase.hpp"

namespace fovea::demo {

/// Trained: no combination that is held out. HeldOut: what the sentence turns on is held out, everything else is not.
enum class Mode : unsigned char { Trained, HeldOut };

class Grammar {
 public:
  Grammar(const Lexicon& lexicon, const Split& split, Mode mode);

  /// One sentence of a kind; nothing when what was drawn leads nowhere: draw again. Long sentences have `target` tokens
  /// or a few more.
  std::optional<SentencePair> sentence(Draw draw, Kind kind, int target = 0);

 private:
  enum class Article : unsigned char { The, A, This, My, Some, Two, Three, Every, None };
  enum class Use : unsigned char { Subject, Object, Negated, Place };  // Negated: an object of a verb with not or never
  enum class Negation : unsigned char { None, Not, Never };
  enum class Need : unsigned char { Trained, Decisive };  // Decisive: held out, in the mode that asks for it

  struct NounPhrase : Phrase {
    const Noun* noun = nullptr;
    Gender gender = Gender::Masculine;
    bool plural = false, every = false;
    std::int16_t head = -1;  // serial of the noun
  };
  struct Options {
    Use use = Use::Subject;
    std::optional<bool> plural = {};
    std::optional<Article> article = {};
    double adjective = 0.25, relative = 0, place = 0;
    Need need = Need::Trained;  // Decisive: it has an adjective, and the two are held out
  };

  // grammar.cpp
  Token token(Word word) { return {word, next_serial_++}; }
  Token token(std::string_view text) { return token(words_.id(text)); }
  std::vector<Token> tokens(const std::vector<Word>& words);
  Word fr(std::string_view text) const { return words_.id(text); }
  bool allowed(Family family, Word a, Word b, Need need);
  const Adjective* adjective(const Noun& noun, unsigned groups, Need need);
  const Noun* partner(Family family, const Noun& noun, const std::vector<const Noun*>& among, Need need);
  const Noun* subject_for(const Noun& object, char letter);
  const std::vector<const Noun*>& nouns_of(Classes classes);
  const Transitive& verb_for(char subject, char object);
  bool held_mode(Need need) const { return mode_ == Mode::HeldOut && need == Need::Decisive; }
  [[noreturn]] static void give_up();

  // noun_phrase.cpp
  NounPhrase noun_phrase(const Noun& noun, int depth, const Options& options);
  NounPhrase random_noun_phrase(Classes classes, int depth, const Options& options);
  Article article_for(const Noun& noun, bool plural, Use use);
  void determiner(NounPhrase& x, Article article, bool partitive_de, Token english);
  int preposition_for(const Noun& noun);
  Phrase place(const NounPhrase& where, int preposition);
  Phrase random_place(Classes classes, int depth);
  void add_relative(NounPhrase& x, int depth);

  // verb_phrase.cpp
  Phrase transitive_phrase(const NounPhrase& x, const Transitive& verb, Negation negation, const NounPhrase& object,
                           bool adverb);
  Phrase intransitive_phrase(const NounPhrase& x, const Intransitive& verb, Negation negation, bool adverb);
  Phrase verb_phrase(const NounPhrase& x, int depth, std::optional<Negation> negation = {}, bool adverb = true);
  Phrase object_relative(const NounPhrase& x, const NounPhrase& subject, const Transitive& verb);
  Phrase was_some(const NounPhrase& x, unsigned groups, Need need);
  Phrase was(const NounPhrase& x, const Adjective& adjective, const Phrasing* degree);
  Phrase was_doing(const NounPhrase& x, int depth);
  Phrase verb_in_past(const NounPhrase& x, const std::vector<Word>& past_form, const std::vector<Word>& base,
                      const Forms& participle, Auxiliary auxiliary, Negation negation, bool adverb);
  void past(Phrase& out, const NounPhrase& x, const Refs& verb, const Forms& participle, Auxiliary auxiliary,
            Negation negation, const Refs& negative, const Phrasing* adverb, const Refs& adverb_token);
  const Intransitive& intransitive_for(char subject);
  Negation random_negation();
  const Phrasing* random_degree(bool always);

  // clauses.cpp
  Phrase clause(int depth);
  Phrase discourse(int depth);
  Phrase agreement();
  Phrase long_sentence(int target);
  Phrase join(std::string_view english, std::string_view french, const Phrase& next, bool comma = false);

  // phenomena
  Phrase coreference(bool fit);
  Phrase fit_clause(const NounPhrase& thing, const NounPhrase& container);
  Phrase sense();
  Phrase sense_by_adjective(const Sense& s, const NounPhrase& x, const Adjective& telling, MarkDraft& mark);
  Phrase sense_by_context(const Sense& s, const NounPhrase& x, MarkDraft& mark);
  Phrase possessive();
  Phrase possession_of(const NounPhrase& owner);
  Phrase question();
  void ask(Phrase& out, Token opening);
  Phrase question_with_did(const NounPhrase& x);
  Phrase subject_question();
  Phrase which_question(const NounPhrase& x);

  const Lexicon& lexicon_;
  const Vocabulary& words_;
  const Split& split_;
  Mode mode_;
  std::vector<std::pair<Classes, std::vector<const Noun*>>> by_classes_;

  // Of the sentence under construction.
  Draw draw_{0, 0, 0};
  std::int16_t next_serial_ = 0;
  std::vector<MarkDraft> marks_;
  std::vector<HeldOut> held_out_;
};

}  // namespace fovea::demo
