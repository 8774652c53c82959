// its, his, her → son, sa, ses: English looks at the owner, French at what is owned.
#include "demo/grammar.hpp"

namespace fovea::demo {

/// "stretched its legs": a part of the body, or of a person's things; x is the owner.
Phrase Grammar::possession_of(const NounPhrase& x) {
  const bool person = x.noun->letter == 'H';
  Word verb = 0, english = 0, participle = 0;
  std::vector<Word> french;
  Gender gender = Gender::Masculine;
  bool plural = false;
  if (person && draw_.chance(0.35)) {
    const Noun* thing = partner(Family::Possession, *x.noun, nouns_of(class_of('O')), Need::Decisive);
    const Transitive& v = verb_for('H', 'O');
    plural = draw_.chance(0.25);
    verb = v.past, participle = v.participle.word[0][0];
    english = thing->english[plural], french = thing->french[plural], gender = thing->gender;
  } else {
    std::vector<const Possession*> parts;
    for (const Possession& p : lexicon_.possessions)
      if ((p.owners & class_of(x.noun->letter)) &&
          allowed(Family::Possession, x.noun->key(), p.english, Need::Decisive))
        parts.push_back(&p);
    if (parts.empty()) give_up();
    const Possession& p = *draw_.of(parts);
    if (mode_ == Mode::HeldOut) held_out_.push_back({Family::Possession, x.noun->key(), p.english});
    const auto& verbs = lexicon_.possession_verbs;
    const Phrasing& v = draw_.of(std::span(verbs).subspan(p.stretches ? 0 : 1));
    verb = v.english[0], participle = v.french[0];
    english = p.english, french = {p.french}, gender = p.gender, plural = p.plural;
  }
  const bool f = gender == Gender::Feminine;
  const Token did = token(verb),
              whose = token(!person                        ? "its"
                            : x.gender == Gender::Feminine ? "her"
                                                           : "his"),
              what = token(english);
  Phrase out;
  for (const Token t : {did, whose, what}) out.append(t);
  out.translate(fr("a"), did);
  out.translate(participle, did);
  out.translate(fr(plural ? "ses" : f ? "sa" : "son"), whose);
  out.translate(french, what);
  marks_.push_back(
      {MarkKind::Possessive, whose.serial, x.head, what.serial, -1, plural ? kNoWord : fr(f ? "son" : "sa")});
  return out;
}

/// "The cat, which had been sleeping on the windowsill all morning, finally woke up and stretched its legs."
Phrase Grammar::possessive() {
  NounPhrase x = random_noun_phrase(classes_of("AH"), 1, {.plural = false, .adjective = 0.2});
  if (draw_.chance(0.6)) {
    const bool comma = !x.every && (x.noun->name || draw_.chance(0.8));
    const auto add_comma = [&] {
      if (!comma) return;
      const Token mark = token(",");
      x.append(mark);
      x.translate(mark.word, mark);
    };
    add_comma();
    const Token who = token(x.noun->letter == 'H' ? "who" : comma ? "which" : "that");
    x.append(who);
    x.translate(fr("qui"), who);
    const Intransitive* verb = &intransitive_for(x.noun->letter);
    while (verb->ing == kNoWord || verb->auxiliary != Auxiliary::Avoir) verb = &intransitive_for(x.noun->letter);
    const std::vector<Token> had = {token("had"), token("been")};
    const Token doing = token(verb->ing);
    x.append(had);
    x.append(doing);
    x.translate(fr("avait"), Refs(had));
    x.translate(verb->participle.word[0][0], doing);
    if (draw_.chance(0.75)) x.append(random_place(classes_of("LBWX"), draw_.chance(0.6) ? 3 : 1));
    if (draw_.chance(0.7)) {
      const Phrasing& time = draw_.of(lexicon_.times);
      const auto english = tokens(time.english);
      x.append(english);
      x.translate(time.french, Refs(english));
    }
    add_comma();
  }
  Phrase out = x;
  if (draw_.chance(0.6)) {
    out.append(verb_phrase(x, 2, Negation::None));
    out.append(join("and", "et", possession_of(x)));
  } else {
    out.append(possession_of(x));
  }
  return out;
}

}  // namespace fovea::demo
