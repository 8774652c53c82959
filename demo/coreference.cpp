// "The animal didn't cross the street because it was too tired": who is it? The adjective's class decides, and French
// has to know: il or elle. The nouns around the two candidates are such that they can't be meant.
#include "demo/grammar.hpp"

namespace fovea::demo {
namespace {

struct Connector {
  std::string_view english, french;
};
constexpr Connector kConnectors[] = {{"because", "parce que"},
                                     {"because", "parce que"},
                                     {"because", "parce que"},
                                     {"because", "parce que"},
                                     {"since", "puisque"},
                                     {"since", "puisque"},
                                     {".", "."}};
/// Objects that could be meant, each with the classes of places that then can't.
constexpr std::string_view kObjects = "WFOB";

}  // namespace

/// "didn't fit in": one is too big, or the other too small.
Phrase Grammar::fit_clause(const NounPhrase& thing, const NounPhrase& container) {
  const Token didnt = token("didn't"), fit = token("fit"), in = token("in");
  Phrase out = thing;
  out.append(didnt);
  out.append(fit);
  out.append(in);
  out.translate(fr("ne"), didnt);
  out.translate(fr(thing.plural ? "sont" : "est"), fit);
  out.translate(fr("pas"), didnt);
  const bool f = thing.gender == Gender::Feminine;
  out.translate(fr(thing.plural ? (f ? "rentrées" : "rentrés") : (f ? "rentrée" : "rentré")), fit);
  out.translate(fr("dans"), in);
  out.append(container);
  return out;
}

Phrase Grammar::coreference(bool fit) {
  const bool first = draw_.chance(0.5);  // the first of the two is meant
  const char living = fit || draw_.chance(0.85) ? 'A' : 'H';
  const char letter = fit ? 'O' : kObjects[static_cast<std::size_t>(draw_.below(4))];
  const Noun* subject = draw_.of(nouns_of(class_of(fit ? 'O' : living)));
  std::vector<const Noun*> objects;
  for (const Noun* n : nouns_of(class_of(letter)))
    if (!fit || n->container) objects.push_back(n);
  const Noun* object = partner(Family::Object, *subject, objects, Need::Trained);
  const bool plural = living == 'A' && !subject->single && !object->single && draw_.chance(0.15);
  const Noun* meant = first ? subject : object;
  const unsigned groups = fit ? (first ? kThing : kContainer) : decisive_of(*meant);
  const Adjective* why = adjective(*meant, groups, Need::Decisive);

  const Negation negation = draw_.chance(0.7) ? Negation::Not : draw_.chance(0.5) ? Negation::Never : Negation::None;
  NounPhrase x = noun_phrase(*subject, 1, {.plural = plural, .adjective = 0.2});
  if (x.every) give_up();
  if (!x.noun->name && draw_.chance(0.08)) x.append(random_place(class_of(letter == 'B' ? 'L' : 'B'), 3));
  NounPhrase y = noun_phrase(
      *object, 1,
      {.use = fit || negation != Negation::None ? Use::Negated : Use::Object, .plural = plural, .adjective = 0.2});
  if (y.every) give_up();
  if (draw_.chance(0.08)) {  // a person can't be "it"; "they" might be two of them
    if (living == 'H') give_up();
    const NounPhrase by = noun_phrase(*subject_for(*object, 'H'), 2, {.plural = false, .adjective = 0});
    y.append(object_relative(y, by, verb_for('H', letter)));
  }
  Phrase out;
  if (fit) {
    out = fit_clause(x, y);
  } else {
    out = x;
    out.append(transitive_phrase(x, verb_for(living, letter), negation, y, false));
  }
  const Connector& c = draw_.of(kConnectors);
  const NounPhrase& ref = first ? x : y;
  const bool person = ref.noun->letter == 'H', f = ref.gender == Gender::Feminine,
             other_f = (first ? y : x).gender == Gender::Feminine;
  const auto pronoun = [&](bool feminine) {
    return fr(feminine ? (ref.plural ? "elles" : "elle") : (ref.plural ? "ils" : "il"));
  };
  const Token it = token(ref.plural ? "they" : !person ? "it" : f ? "she" : "he");
  Phrase reason;
  reason.append(it);
  reason.translate(pronoun(f), it);
  reason.append(was(ref, *why, draw_.chance(0.55) ? &lexicon_.degrees[0] : random_degree(true)));
  marks_.push_back({MarkKind::Pronoun, it.serial, ref.head, (first ? y : x).head, reason.english.back().serial,
                    f == other_f ? kNoWord : pronoun(!f)});
  out.append(join(c.english, c.french, reason));
  return out;
}

}  // namespace fovea::demo
