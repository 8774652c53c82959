// Sentences of each kind, and what all productions draw from.
#include "demo/grammar.hpp"

namespace fovea::demo {
namespace {

/// What was drawn leads nowhere (a verb that the subject doesn't take, no held-out partner); thrown and caught in this
/// file alone. One training sentence in twenty ends so, one held-out sentence in five: 2 s for 220,000 pairs all told.
struct Retry {};

}  // namespace

Grammar::Grammar(const Lexicon& lexicon, const Split& split, Mode mode)
    : lexicon_(lexicon), words_(lexicon.words), split_(split), mode_(mode) {}

void Grammar::give_up() { throw Retry{}; }

std::optional<SentencePair> Grammar::sentence(Draw draw, Kind kind, int target) {
  draw_ = draw;
  next_serial_ = 0;
  marks_.clear();
  held_out_.clear();
  Phrase phrase;
  try {
    switch (kind) {
      case Kind::Coreference:
        phrase = coreference(false);
        break;
      case Kind::Fit:
        phrase = coreference(true);
        break;
      case Kind::Sense:
        phrase = sense();
        break;
      case Kind::Possessive:
        phrase = possessive();
        break;
      case Kind::Question:
        phrase = question();
        break;
      case Kind::Agreement:
        phrase = agreement();
        break;
      case Kind::Generic:
        phrase = discourse(0);
        break;
      case Kind::Long:
        phrase = long_sentence(target);
        break;
    }
  } catch (const Retry&) { return std::nullopt; }
  if (mode_ == Mode::HeldOut && held_out_.empty()) return std::nullopt;
  const Token end = token(kind == Kind::Question ? "?" : ".");
  phrase.append(end);
  phrase.translate(end.word, end);
  return finish(lexicon_, std::move(phrase), kind, marks_, held_out_);
}

std::vector<Token> Grammar::tokens(const std::vector<Word>& words) {
  std::vector<Token> out;
  for (const Word w : words) out.push_back(token(w));
  return out;
}

bool Grammar::allowed(Family family, Word a, Word b, Need need) {
  return split_.held_out(family, a, b) == held_mode(need);
}

const Adjective* Grammar::adjective(const Noun& noun, unsigned groups, Need need) {
  int count = 0;
  const auto fits = [&](const Adjective& a) {
    return (a.groups & groups) && allowed(Family::Adjective, noun.key(), a.english, need);
  };
  for (const Adjective& a : lexicon_.adjectives) count += fits(a);
  if (count == 0) give_up();
  int left = draw_.below(count);
  for (const Adjective& a : lexicon_.adjectives) {
    if (!fits(a) || left-- > 0) continue;
    if (held_mode(need)) held_out_.push_back({Family::Adjective, noun.key(), a.english});
    return &a;
  }
  give_up();
}

const Noun* Grammar::partner(Family family, const Noun& noun, const std::vector<const Noun*>& among, Need need) {
  int count = 0;
  const auto fits = [&](const Noun* n) {
    return n->key() != noun.key() && allowed(family, noun.key(), n->key(), need);
  };
  for (const Noun* n : among) count += fits(n);
  if (count == 0) give_up();
  int left = draw_.below(count);
  for (const Noun* n : among) {
    if (!fits(n) || left-- > 0) continue;
    if (held_mode(need)) held_out_.push_back({family, noun.key(), n->key()});
    return n;
  }
  give_up();
}

const Noun* Grammar::subject_for(const Noun& object, char letter) {
  const auto& all = nouns_of(class_of(letter));
  for (int i = 0; i < 30; ++i) {
    const Noun* n = draw_.of(all);
    if (n != &object && allowed(Family::Object, n->key(), object.key(), Need::Trained)) return n;
  }
  give_up();
}

const std::vector<const Noun*>& Grammar::nouns_of(Classes classes) {
  for (const auto& [have, nouns] : by_classes_)
    if (have == classes) return nouns;
  by_classes_.reserve(256);  // references to the lists stay good; there are fewer sets of classes in use than that
  return by_classes_.emplace_back(classes, lexicon_.of(classes)).second;
}

const Transitive& Grammar::verb_for(char subject, char object) {
  const auto fits = [&](const Transitive& v) {
    return (v.subjects & class_of(subject)) && (v.objects & class_of(object));
  };
  int count = 0;
  for (const Transitive& v : lexicon_.transitive) count += fits(v);
  if (count == 0) give_up();
  int left = draw_.below(count);
  for (const Transitive& v : lexicon_.transitive)
    if (fits(v) && left-- == 0) return v;
  give_up();
}

const Intransitive& Grammar::intransitive_for(char subject) {
  for (;;) {
    const Intransitive& v = draw_.of(lexicon_.intransitive);
    if (v.subjects & class_of(subject)) return v;
  }
}

Grammar::Negation Grammar::random_negation() {
  const int k = draw_.below(9);
  return k == 0 ? Negation::Not : k == 1 ? Negation::Never : Negation::None;
}

const Phrasing* Grammar::random_degree(bool always) {
  if (!always && draw_.chance(0.4)) return nullptr;
  return &draw_.of(lexicon_.degrees);
}

}  // namespace fovea::demo
