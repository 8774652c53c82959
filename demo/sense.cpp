// Words with two senses: the bank by the river, the bank in the city. A noun of a scene decides, or an adjective that
// only one of the two can have.
#include "demo/grammar.hpp"

namespace fovea::demo {

Phrase Grammar::sense() {
  const TwoSenses& two = draw_.of(lexicon_.two_senses);
  const int k = draw_.below(2);
  const Sense& s = two.senses[static_cast<std::size_t>(k)];
  const NounPhrase x = noun_phrase(s.noun, 1, {.plural = draw_.chance(0.1), .adjective = 0});
  MarkDraft mark{MarkKind::Sense, x.head, -1};
  mark.wrong = two.senses[static_cast<std::size_t>(1 - k)].noun.french[x.plural][0];

  std::vector<const Adjective*> telling;
  for (const Adjective* a : s.adjectives)
    if (allowed(Family::Context, two.word, a->english, Need::Decisive)) telling.push_back(a);
  const bool by_adjective = !telling.empty() && draw_.chance(0.25);
  Phrase out = by_adjective ? sense_by_adjective(s, x, *draw_.of(telling), mark) : sense_by_context(s, x, mark);
  marks_.push_back(mark);
  return out;
}

/// "The bank was flooded." "The bank that the boy saw was flooded."
Phrase Grammar::sense_by_adjective(const Sense& s, const NounPhrase& x, const Adjective& telling, MarkDraft& mark) {
  if (mode_ == Mode::HeldOut) held_out_.push_back({Family::Context, s.noun.key(), telling.english});
  Phrase out = x;
  if (draw_.chance(0.3)) {
    const NounPhrase who = random_noun_phrase(class_of('H'), 2, {.adjective = 0.1});
    out.append(object_relative(x, who, verb_for('H', 'S')));
  }
  out.append(was(x, telling, random_degree(false)));
  mark.source = out.english.back().serial;
  return out;
}

Phrase Grammar::sense_by_context(const Sense& s, const NounPhrase& x, MarkDraft& mark) {
  const Noun* context = partner(Family::Context, s.noun, s.contexts, Need::Decisive);
  const NounPhrase around = noun_phrase(*context, 2, {.use = Use::Place, .plural = false, .adjective = 0.12});
  mark.source = around.head;
  const Phrase where = place(around, preposition_for(*context));
  const auto is = [&] { return was_some(x, kAny, Need::Trained); };
  const NounPhrase who = random_noun_phrase(class_of('H'), 2, {.adjective = 0.1});
  const Transitive& verb = verb_for('H', 'S');
  const int k = draw_.below(100);
  if (k < 50) {  // the bank by the river was old
    Phrase out = x;
    out.append(where);
    out.append(is());
    return out;
  }
  if (k < 70) {  // the boy saw the bank by the river
    Phrase out = who;
    out.append(transitive_phrase(who, verb, Negation::None, x, draw_.chance(0.1)));
    out.append(where);
    return out;
  }
  if (k < 85) {  // the bank that the boy saw by the river was old
    Phrase out = x;
    out.append(object_relative(x, who, verb));
    out.append(where);
    out.append(is());
    return out;
  }
  Phrase out = where;  // by the river, the boy saw the bank
  const Token comma = token(",");
  out.append(comma);
  out.translate(comma.word, comma);
  out.append(who);
  out.append(transitive_phrase(who, verb, Negation::None, x, false));
  return out;
}

}  // namespace fovea::demo
