// Questions: est-ce que stands for did and was; a noun that is asked for comes first, and the participle agrees with
// it.
#include "demo/grammar.hpp"

namespace fovea::demo {
namespace {

struct Asking {
  std::string_view english, french;
};
constexpr Asking kAdverbs[] = {{"Where", "Où"}, {"when", "quand"}, {"Why", "Pourquoi"}};

}  // namespace

/// est-ce que, from the word that opens the English question.
void Grammar::ask(Phrase& out, Token opening) {
  out.translate(fr("est-ce"), opening);
  out.translate(fr("que"), opening);
}

/// "Who ate the apple?", "Who was tired?"
Phrase Grammar::subject_question() {
  const Token who = token("who");
  static const Noun kSomebody = [] {
    Noun n;
    n.letter = 'H';
    return n;
  }();
  NounPhrase x;
  x.noun = &kSomebody;
  x.append(who);
  x.translate(fr("qui"), who);
  Phrase out = x;
  if (mode_ == Mode::Trained && draw_.chance(0.25)) {
    const Intransitive& verb = intransitive_for('H');
    out.append(intransitive_phrase(x, verb, draw_.chance(0.2) ? Negation::Not : Negation::None, false));
    if (draw_.chance(0.6)) out.append(random_place(classes_of("LBWX"), 1));
    return out;
  }
  const Transitive& verb = draw_.of(lexicon_.transitive);
  if (!(verb.subjects & class_of('H'))) give_up();
  const Negation no = draw_.chance(0.2) ? Negation::Not : Negation::None;
  const NounPhrase object = random_noun_phrase(verb.objects & classes_of("AHWFOLB"), 1,
                                               {.use = no == Negation::None ? Use::Object : Use::Negated,
                                                .adjective = 0.3,
                                                .relative = 0.1,
                                                .place = 0.15,
                                                .need = mode_ == Mode::HeldOut ? Need::Decisive : Need::Trained});
  out.append(transitive_phrase(x, verb, no, object, false));
  return out;
}

/// "Which apple did the boy eat?": Quelle pomme est-ce que le garçon a mangée ?
Phrase Grammar::which_question(const NounPhrase& x) {
  const Transitive& verb = draw_.of(lexicon_.transitive);
  if (!(verb.subjects & class_of(x.noun->letter))) give_up();
  const Noun* object = partner(Family::Object, *x.noun, nouns_of(verb.objects & classes_of("AWFOB")), Need::Decisive);
  const bool plural = !object->single && draw_.chance(0.3), f = object->gender == Gender::Feminine;
  const Token which = token("which"), what = token(object->english[plural]), did = token("did"),
              base = token(verb.base);
  Phrase out;
  for (const Token t : {which, what, did}) out.append(t);
  out.translate(fr(f ? (plural ? "Quelles" : "Quelle") : (plural ? "Quels" : "Quel")), which);
  out.translate(object->french[plural], what);
  ask(out, did);
  out.append(x);
  out.append(base);
  out.translate(fr(x.plural ? "ont" : "a"), base);
  out.translate(verb.participle(object->gender, plural), base);
  return out;
}

/// "Did the boy eat the apple?", "Why did …?", "What did the boy eat?"
Phrase Grammar::question_with_did(const NounPhrase& x) {
  const Transitive& verb = draw_.of(lexicon_.transitive);
  if (!(verb.subjects & class_of(x.noun->letter))) give_up();
  Phrase out;
  const int k = draw_.below(10);
  if (mode_ == Mode::Trained && k < 2) {
    const Token what = token("What"), did = token("did"), base = token(verb.base);
    out.append(what);
    out.append(did);
    out.translate(fr("que"), what);
    ask(out, did);
    out.append(x);
    out.append(base);
    past(out, x, base, verb.participle, Auxiliary::Avoir, Negation::None, {}, nullptr, {});
    return out;
  }
  if (k < 6) {
    const Asking& asking = kAdverbs[draw_.below(3)];
    const Token adverb = token(asking.english);
    out.append(adverb);
    out.translate(fr(asking.french), adverb);
  }
  const Token did = token("did");
  out.append(did);
  ask(out, did);
  out.append(x);
  if (mode_ == Mode::Trained && draw_.chance(0.25)) {
    const Intransitive& sit = intransitive_for(x.noun->letter);
    const auto base = tokens(sit.base);
    out.append(base);
    past(out, x, Refs(base), sit.participle, sit.auxiliary, Negation::None, {}, nullptr, {});
    if (draw_.chance(0.5)) out.append(random_place(classes_of("LBWX"), 1));
    return out;
  }
  const Noun* object = partner(Family::Object, *x.noun, nouns_of(verb.objects & classes_of("AHWFOLB")), Need::Decisive);
  const NounPhrase it = noun_phrase(*object, 1, {.use = Use::Object, .relative = 0.1, .place = 0.15});
  const Token base = token(verb.base);
  out.append(base);
  past(out, x, base, verb.participle, Auxiliary::Avoir, Negation::None, {}, nullptr, {});
  out.append(it);
  return out;
}

Phrase Grammar::question() {
  const int k = draw_.below(100);
  if (k < 30) return subject_question();
  if (k < 42) {  // was the street wide?
    const NounPhrase x =
        random_noun_phrase(classes_of("AHWFOLB"), 1, {.adjective = 0.1, .relative = 0.1, .place = 0.15});
    if (x.noun->name && mode_ == Mode::HeldOut) give_up();
    const Phrase is = was_some(x, predicates_of(*x.noun), Need::Decisive);
    Phrase out;
    out.append(is.english.front());
    ask(out, is.english.front());
    out.append(x);
    out.append(std::span(is.english).subspan(1));
    out.french.insert(out.french.end(), is.french.begin(), is.french.end());
    return out;
  }
  const NounPhrase x = random_noun_phrase(classes_of("AH"), 1, {.relative = 0.15});
  return k < 55 ? which_question(x) : question_with_did(x);
}

}  // namespace fovea::demo
