// Articles, adjectives on either side of the noun, places, relative clauses.
#include "demo/grammar.hpp"

namespace fovea::demo {

Grammar::Article Grammar::article_for(const Noun& noun, bool plural, Use use) {
  using enum Article;
  if (noun.name) return None;
  if (draw_.chance(0.55)) return The;
  // After a negated verb, un and des would become de; after près de, des would. Both are avoided by what is said.
  if (use == Use::Negated) return draw_.chance(0.5) ? This : My;
  if (noun.mass) return use == Use::Place ? (draw_.chance(0.5) ? This : My) : draw_.of(std::array{This, My, Some});
  if (use == Use::Place) return plural ? draw_.of(std::array{This, My, Two}) : draw_.of(std::array{A, A, This, My});
  return plural ? draw_.of(std::array{Some, This, Two, Three, My}) : draw_.of(std::array{A, A, This, My, Every});
}

void Grammar::determiner(NounPhrase& x, Article article, bool partitive_de, Token english) {
  const bool f = x.gender == Gender::Feminine, pl = x.plural;
  const auto say = [&](std::string_view word) { x.translate(fr(word), english); };
  const auto agree = [&](std::string_view m, std::string_view fem, std::string_view plural) {
    say(pl ? plural : f ? fem : m);
  };
  switch (article) {
    case Article::The:
      return agree("le", "la", "les");
    case Article::A:
      return agree("un", "une", "");
    case Article::This:
      return agree("ce", "cette", "ces");
    case Article::My:
      return agree("mon", "ma", "mes");
    case Article::Two:
      return say("deux");
    case Article::Three:
      return say("trois");
    case Article::Every:
      return say("chaque");
    case Article::Some:
      if (!pl) return say("de"), agree("le", "la", "");  // du pain, de la soupe
      return say(partitive_de ? "de" : "des");           // de petits chiens
    case Article::None:
      return;
  }
}

Grammar::NounPhrase Grammar::noun_phrase(const Noun& noun, int depth, const Options& options) {
  NounPhrase x;
  x.noun = &noun;
  x.gender = noun.gender;
  x.plural = !noun.single && options.plural.value_or(draw_.chance(0.18));
  const bool must = options.need == Need::Decisive;
  const Article article = noun.name         ? Article::None
                          : options.article ? *options.article
                                            : article_for(noun, x.plural, options.use);
  x.every = article == Article::Every;

  const Adjective* front = nullptr;  // as French has it
  const Adjective* back = nullptr;
  if (!noun.name && (must || draw_.chance(options.adjective))) {
    const unsigned groups = attributes_of(noun), own = decisive_of(noun);
    const Adjective* a = adjective(noun, must || draw_.chance(0.4) ? groups : groups & ~own, options.need);
    (a->before ? front : back) = a;
    if (a->before && (groups & kColour) && draw_.chance(0.2))
      back = adjective(noun, kColour, Need::Trained);  // a small red box
  }
  if (article != Article::None) {
    static constexpr std::string_view kEnglish[][2] = {{"the", "the"},     {"a", "a"},        {"this", "these"},
                                                       {"my", "my"},       {"some", "some"},  {"two", "two"},
                                                       {"three", "three"}, {"every", "every"}};
    const Token english = token(kEnglish[static_cast<std::size_t>(article)][x.plural]);
    x.append(english);
    determiner(x, article, front != nullptr, english);
  }
  std::optional<FrenchWord> after;
  for (const Adjective* a : {front, back}) {
    if (!a) continue;
    const Token english = token(a->english);
    x.append(english);
    Word form = a->french(x.gender, x.plural);
    if (!a->before) {
      after = FrenchWord{form, english};
      continue;
    }
    const bool liaison = x.gender == Gender::Masculine && !x.plural && words_.begins_with_vowel(noun.french[0][0]);
    if (liaison && a->before_vowel != kNoWord) form = a->before_vowel;
    x.translate(form, english);
  }
  const Token head = token(noun.english[x.plural]);
  x.append(head);
  x.head = head.serial;
  x.translate(noun.french[x.plural], head);
  if (after) x.french.push_back(*after);
  if (draw_.chance(options.place) && !noun.name) x.append(random_place(classes_of("LBWX"), depth + 1));
  if (draw_.chance(options.relative)) add_relative(x, depth);
  return x;
}

Grammar::NounPhrase Grammar::random_noun_phrase(Classes classes, int depth, const Options& options) {
  const auto& nouns = nouns_of(classes);
  const Noun* noun = draw_.of(nouns);
  if (noun->name && draw_.chance(0.5)) noun = draw_.of(nouns);  // half as many names
  return noun_phrase(*noun, depth, options);
}

int Grammar::preposition_for(const Noun& noun) {
  static const std::array kAll = {lexicon_.preposition("near"), lexicon_.preposition("by"),
                                  lexicon_.preposition("next to"), lexicon_.preposition("behind"),
                                  lexicon_.preposition("in front of")};
  if (!noun.places.empty() && draw_.chance(0.5)) return draw_.of(noun.places);
  return kAll[static_cast<std::size_t>(draw_.below(noun.beside ? 3 : 5))];
}

Phrase Grammar::place(const NounPhrase& where, int preposition) {
  const Phrasing& p = lexicon_.prepositions[static_cast<std::size_t>(preposition)];
  const std::vector<Token> english = tokens(p.english);
  Phrase out;
  out.append(english);
  out.translate(p.french, Refs(english));
  out.append(where);
  return out;
}

Phrase Grammar::random_place(Classes classes, int depth) {
  const NounPhrase where = random_noun_phrase(
      classes, depth, {.use = Use::Place, .plural = false, .adjective = 0.15, .place = depth <= 2 ? 0.12 : 0.0});
  return place(where, preposition_for(*where.noun));
}

/// Who and which as subjects (qui), that as an object (que, with which the participle agrees).
void Grammar::add_relative(NounPhrase& x, int depth) {
  const bool living = x.noun->letter == 'A' || x.noun->letter == 'H';
  const bool comma = !x.every && (x.noun->name || draw_.chance(0.25));
  if (comma && !living) return;
  Phrase clause;
  if (living && (comma || draw_.chance(0.6))) {
    const Token who = token(x.noun->letter == 'H' ? "who" : comma ? "which" : "that");
    clause.append(who);
    clause.translate(fr("qui"), who);
    clause.append(verb_phrase(x, depth + 1));
  } else {
    const char subject = draw_.chance(0.5) ? 'H' : 'A';
    const Transitive& verb = verb_for(subject, x.noun->letter);
    const NounPhrase by = noun_phrase(*subject_for(*x.noun, subject), depth + 1, {.adjective = 0.15});
    clause = object_relative(x, by, verb);
  }
  const auto add_comma = [&] {
    const Token mark = token(",");
    x.append(mark);
    x.translate(mark.word, mark);
  };
  if (comma) add_comma();
  x.append(clause);
  if (comma) add_comma();
}

}  // namespace fovea::demo
