// What a subject did (passé composé), was, or was doing (imparfait).
#include "demo/grammar.hpp"

namespace fovea::demo {

/// ne se + auxiliary + pas + adverb + participle. With avoir the participle stays; else it agrees with the subject.
void Grammar::past(Phrase& out, const NounPhrase& x, const Refs& verb, const Forms& participle, Auxiliary auxiliary,
                   Negation negation, const Refs& negative, const Phrasing* adverb, const Refs& adverb_token) {
  const bool avoir = auxiliary == Auxiliary::Avoir;
  if (negation != Negation::None) out.translate(fr("ne"), negative);
  if (auxiliary == Auxiliary::Self) out.translate(fr("se"), verb);
  out.translate(avoir ? fr(x.plural ? "ont" : "a") : fr(x.plural ? "sont" : "est"), verb);
  if (negation != Negation::None) out.translate(fr(negation == Negation::Not ? "pas" : "jamais"), negative);
  if (adverb) out.translate(adverb->french, adverb_token);
  out.translate(avoir ? participle.word[0][0] : participle(x.gender, x.plural), verb);
}

/// [didn't | never | adverb] verb, in the past.
Phrase Grammar::verb_in_past(const NounPhrase& x, const std::vector<Word>& past_form, const std::vector<Word>& base,
                             const Forms& participle, Auxiliary auxiliary, Negation negation, bool adverb) {
  Phrase out;
  Refs negative, adverb_token;
  const Phrasing* how = adverb && negation == Negation::None ? &draw_.of(lexicon_.adverbs) : nullptr;
  if (negation != Negation::None) {
    out.append(token(negation == Negation::Not ? "didn't" : "never"));
    negative.add(out.english.back().serial);
  }
  if (how) {
    const auto english = tokens(how->english);
    out.append(english);
    adverb_token = Refs(english);
  }
  const auto english = tokens(negation == Negation::Not ? base : past_form);
  out.append(english);
  past(out, x, Refs(english), participle, auxiliary, negation, negative, how, adverb_token);
  return out;
}

Phrase Grammar::transitive_phrase(const NounPhrase& x, const Transitive& verb, Negation negation,
                                  const NounPhrase& object, bool adverb) {
  Phrase out = verb_in_past(x, {verb.past}, {verb.base}, verb.participle, Auxiliary::Avoir, negation, adverb);
  out.append(object);
  return out;
}

Phrase Grammar::intransitive_phrase(const NounPhrase& x, const Intransitive& verb, Negation negation, bool adverb) {
  return verb_in_past(x, verb.past, verb.base, verb.participle, verb.auxiliary, negation, adverb);
}

Phrase Grammar::verb_phrase(const NounPhrase& x, int depth, std::optional<Negation> negation, bool adverb) {
  const Negation no = x.every    ? Negation::None
                      : negation ? *negation
                                 : random_negation();  // "every dog didn't" is two things
  const bool how = adverb && draw_.chance(0.15);
  if (draw_.chance(0.62)) {
    const Classes all = classes_of("AHWFOLB");
    const Noun* object = nullptr;
    const Transitive* verb = nullptr;
    for (int i = 0; i < 20 && !object; ++i) {
      verb = &draw_.of(lexicon_.transitive);
      if (verb->subjects & class_of(x.noun->letter))
        object = partner(Family::Object, *x.noun, nouns_of(verb->objects & all), Need::Trained);
    }
    if (!object) give_up();
    const bool room = depth < 2;
    const NounPhrase it = noun_phrase(*object, depth + 1,
                                      {.use = no == Negation::None ? Use::Object : Use::Negated,
                                       .relative = room ? 0.18 : 0.0,
                                       .place = room ? 0.18 : 0.0});
    return transitive_phrase(x, *verb, no, it, how);
  }
  Phrase out = intransitive_phrase(x, intransitive_for(x.noun->letter), no, how);
  if (draw_.chance(0.5)) out.append(random_place(classes_of("LBWX"), depth + 1));
  return out;
}

/// "that the boy ate" → que le garçon a mangée: the participle agrees with x, which comes before it.
Phrase Grammar::object_relative(const NounPhrase& x, const NounPhrase& subject, const Transitive& verb) {
  const Token that = token("that");
  Phrase out;
  out.append(that);
  out.translate(fr("que"), that);
  out.append(subject);
  const Token did = token(verb.past);
  out.append(did);
  out.translate(fr(subject.plural ? "ont" : "a"), did);
  out.translate(verb.participle(x.gender, x.plural), did);
  return out;
}

Phrase Grammar::was(const NounPhrase& x, const Adjective& adjective, const Phrasing* degree) {
  Phrase out;
  const Token be = token(x.plural ? "were" : "was");
  out.append(be);
  out.translate(fr(x.plural ? "étaient" : "était"), be);
  if (degree) {
    const auto english = tokens(degree->english);
    out.append(english);
    out.translate(degree->french, Refs(english));
  }
  const Token english = token(adjective.english);
  out.append(english);
  out.translate(adjective.french(x.gender, x.plural), english);
  return out;
}

/// Arguments are evaluated in any order; what is drawn must be drawn in one.
Phrase Grammar::was_some(const NounPhrase& x, unsigned groups, Need need) {
  const Adjective* a = adjective(*x.noun, groups, need);
  return was(x, *a, random_degree(false));
}

/// "was sleeping on the mat" → dormait sur le tapis. What lasts stands in the imparfait.
Phrase Grammar::was_doing(const NounPhrase& x, int depth) {
  const Intransitive* verb = &intransitive_for(x.noun->letter);
  while (verb->ing == kNoWord) verb = &intransitive_for(x.noun->letter);
  Phrase out;
  const std::vector<Token> english = {token(x.plural ? "were" : "was"), token(verb->ing)};
  out.append(english);
  if (verb->auxiliary == Auxiliary::Self) out.translate(fr("se"), Refs(english));
  out.translate(verb->imparfait[x.plural], Refs(english));
  if (draw_.chance(0.4)) out.append(random_place(classes_of("LBWX"), depth + 1));
  return out;
}

}  // namespace fovea::demo
