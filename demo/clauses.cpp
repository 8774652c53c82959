// Whole clauses, how they are joined, and sentences made for agreement.
#include "demo/grammar.hpp"

namespace fovea::demo {

Phrase Grammar::join(std::string_view english, std::string_view french, const Phrase& next, bool comma) {
  Phrase out;
  if (comma) {
    const Token mark = token(",");
    out.append(mark);
    out.translate(mark.word, mark);
  }
  const Token word = token(english);
  out.append(word);
  if (french == "parce que" || french == "pendant que") {
    out.translate(fr(french.substr(0, french.find(' '))), word);
    out.translate(fr("que"), word);
  } else {
    out.translate(fr(french), word);
  }
  out.append(next);
  return out;
}

Phrase Grammar::clause(int depth) {
  Phrase out;
  const bool room = depth <= 2;
  if (draw_.chance(0.72)) {
    const NounPhrase x = random_noun_phrase(classes_of("AH"), depth, {.relative = room ? 0.25 : 0.0, .place = 0.15});
    out.append(x);
    out.append(verb_phrase(x, depth));
    if (depth < 2 && draw_.chance(0.12)) out.append(join("and", "et", verb_phrase(x, depth + 1, Negation::None)));
    return out;
  }
  const NounPhrase x = random_noun_phrase(classes_of("AHWFOLB"), depth,
                                          {.adjective = 0.15, .relative = room ? 0.25 : 0.0, .place = 0.2});
  out.append(x);
  // Its own adjectives more often than those of everything.
  const unsigned groups = draw_.chance(0.6) ? decisive_of(*x.noun) : predicates_of(*x.noun);
  out.append(was_some(x, groups, Need::Trained));
  return out;
}

Phrase Grammar::discourse(int depth) {
  const int k = draw_.below(100);
  if (depth <= 2 && k >= 50 && k < 62) {  // the boy said that …
    const NounPhrase who = random_noun_phrase(class_of('H'), depth, {.adjective = 0.1});
    const Phrasing& opinion = draw_.of(lexicon_.opinions);
    Phrase out = who;
    const auto said = tokens(opinion.english);
    out.append(said);
    out.translate(fr(who.plural ? "ont" : "a"), Refs(said));
    out.translate(opinion.french, Refs(said));
    out.append(join("that", "que", discourse(depth + 1)));
    return out;
  }
  if (depth <= 2 && k >= 62 && k < 74) {  // when …, …
    Phrase out = join("when", "quand", clause(depth));
    const Token mark = token(",");
    out.append(mark);
    out.translate(mark.word, mark);
    out.append(discourse(depth + 1));
    return out;
  }
  Phrase out = clause(depth);
  if (depth > 2 || k < 50) return out;
  if (k < 82) {
    NounPhrase x = random_noun_phrase(classes_of("AH"), depth + 1, {});
    const Phrase doing = was_doing(x, depth + 1);
    x.append(doing);
    out.append(join("while", "pendant que", x));
    return out;
  }
  const Phrase next = discourse(depth + 1);
  out.append(k < 86   ? join("and", "et", next)
             : k < 91 ? join("but", "mais", next)
             : k < 97 ? join("because", "parce que", next)
                      : join("since", "puisque", next));
  return out;
}

/// Participles that agree across a relative clause, adjectives that agree across it: the spots where gender and number
/// must travel.
Phrase Grammar::agreement() {
  const bool by_object = draw_.chance(0.6);
  const Classes heads = by_object ? classes_of("AWFOB") : classes_of("AH");
  NounPhrase x = random_noun_phrase(heads, 1, {.plural = draw_.chance(0.35), .adjective = 0.3});
  if (x.noun->name) give_up();
  if (by_object) {
    const char subject = draw_.chance(0.5) ? 'H' : 'A';
    const Transitive& verb = verb_for(subject, x.noun->letter);
    const NounPhrase by = noun_phrase(*subject_for(*x.noun, subject), 2, {.adjective = 0.2, .place = 0.1});
    x.append(object_relative(x, by, verb));
  } else {
    const Token who = token(x.noun->letter == 'H' ? "who" : "that");
    x.append(who);
    x.translate(fr("qui"), who);
    const Intransitive* verb = &intransitive_for(x.noun->letter);
    while (verb->auxiliary == Auxiliary::Avoir) verb = &intransitive_for(x.noun->letter);
    x.append(intransitive_phrase(x, *verb, x.every ? Negation::None : random_negation(), false));
    if (draw_.chance(0.4)) x.append(random_place(classes_of("LBWX"), 2));
  }
  Phrase out = x;
  const unsigned groups = draw_.chance(0.7) ? decisive_of(*x.noun) : predicates_of(*x.noun);
  out.append(was_some(x, groups, Need::Decisive));
  if (draw_.chance(0.25)) out.append(join("but", "mais", clause(2)));
  return out;
}

/// Clauses one after the other, some of them of the phenomena, until `target` tokens are there.
Phrase Grammar::long_sentence(int target) {
  Phrase out = discourse(0);
  while (static_cast<int>(out.english.size()) < target) {
    const int k = draw_.below(20);
    if (k == 0) {
      NounPhrase x = random_noun_phrase(classes_of("AH"), 1, {});
      const Phrase doing = was_doing(x, 1);
      x.append(doing);
      out.append(join("while", "pendant que", x));
      continue;
    }
    const Phrase next = k < 6 ? coreference(draw_.chance(0.25)) : k < 10 ? sense() : discourse(1);
    switch (draw_.below(5)) {
      case 0:
        out.append(join("and", "et", next));
        break;
      case 1:
        out.append(join("but", "mais", next));
        break;
      case 2:
        out.append(join("and", "et", next, true));
        break;
      case 3:
        out.append(join("but", "mais", next, true));
        break;
      default:
        out.append(join("because", "parce que", next));
    }
  }
  return out;
}

}  // namespace fovea::demo
