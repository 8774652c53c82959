#include "demo/split.hpp"

#include <algorithm>
#include <map>
#include <string>

#include "demo/draw.hpp"

namespace fovea::demo {
namespace {

constexpr int kOneIn = 6;

/// FNV-1a over the words, then mixed: FNV's low bits alone follow the last letters.
std::uint64_t hash_of(std::string_view family, std::string_view a, std::string_view b) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (const std::string_view part : {family, a, b}) {
    for (const char c : part) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    h = (h ^ '|') * 0x100000001b3u;
  }
  return mixed(h);
}

struct Named {
  Family family;
  std::string_view a, b;
};
/// What the sentences of textbook.tsv turn on.
constexpr Named kTextbook[] = {
    {Family::Adjective, "animal", "tired"}, {Family::Adjective, "street", "wide"},
    {Family::Adjective, "goat", "tired"},   {Family::Adjective, "bridge", "narrow"},
    {Family::Context, "bank", "river"},     {Family::Context, "bank", "flooded"},
    {Family::Context, "bank", "city"},      {Family::Context, "seal", "sea"},
    {Family::Context, "bat", "cave"},       {Family::Object, "animal", "street"},
    {Family::Object, "trophy", "suitcase"}, {Family::Possession, "cat", "legs"},
};

}  // namespace

std::string_view name_of(Family family) {
  static constexpr std::string_view kNames[] = {"adjective", "context", "possession", "object"};
  return kNames[static_cast<std::size_t>(family)];
}

unsigned decisive_of(const Noun& noun) {
  switch (noun.letter) {
    case 'A':
    case 'H':
      return kLiving;
    case 'W':
      return kWay;
    case 'F':
      return kFood;
    case 'O':
    case 'L':
      return kObject;
    case 'B':
      return kBuilding;
    default:
      return 0;
  }
}

unsigned predicates_of(const Noun& noun) { return kAny | decisive_of(noun); }

unsigned attributes_of(const Noun& noun) {
  const bool made = noun.letter == 'O' || noun.letter == 'L' || noun.letter == 'B';
  const bool coloured = made || noun.letter == 'A' || noun.letter == 'F' || noun.letter == 'X';
  return predicates_of(noun) | (coloured ? kColour : 0u) | (made ? kFresh : 0u);
}

Split::Split(const Lexicon& lexicon) : lexicon_(lexicon), words_(static_cast<std::size_t>(lexicon.words.size())) {
  for (auto* table : {&known_, &held_})
    for (auto& bits : *table) bits.assign(words_ * words_, false);
  for (const Noun& n : lexicon.nouns) {
    const unsigned sizes = n.letter == 'O' ? kThing | (n.container ? kContainer : 0u) : 0u;
    for (const Adjective* a : lexicon.of_groups(attributes_of(n) | sizes)) add(Family::Adjective, n.key(), a->english);
  }
  for (const TwoSenses& two : lexicon.two_senses) {
    for (const Adjective* a : lexicon.of_groups(kAny)) add(Family::Adjective, two.word, a->english);
    for (const Sense& s : two.senses) {
      for (const Noun* c : s.contexts) add(Family::Context, two.word, c->key());
      for (const Adjective* a : s.adjectives) add(Family::Context, two.word, a->english);
    }
  }
  for (const Noun& owner : lexicon.nouns) {
    for (const Possession& p : lexicon.possessions)
      if (p.owners & class_of(owner.letter)) add(Family::Possession, owner.key(), p.english);
    if (owner.letter == 'H')
      for (const Noun* thing : lexicon.of(class_of('O'))) add(Family::Possession, owner.key(), thing->key());
  }
  for (const Transitive& v : lexicon.transitive)
    for (const Noun* subject : lexicon.of(v.subjects))
      for (const Noun* object : lexicon.of(v.objects))
        if (object != subject) add(Family::Object, subject->key(), object->key());
  for (const Noun* thing : lexicon.of(class_of('O')))
    for (const Noun* container : lexicon.of(class_of('O')))
      if (container->container && container != thing) add(Family::Object, thing->key(), container->key());
  for (int f = 0; f < kFamilies; ++f) choose(static_cast<Family>(f));
}

void Split::add(Family family, Word a, Word b) {
  const auto f = static_cast<std::size_t>(family);
  const auto known = known_[f][a * words_ + b];
  if (known) return;
  known_[f][a * words_ + b] = true;
  all_[f].push_back({a, b, false});
}

void Split::choose(Family family) {
  const auto f = static_cast<std::size_t>(family);
  std::map<Word, int> total[2], held[2];  // by side
  for (const Combination& c : all_[f]) ++total[0][c.a], ++total[1][c.b];
  const auto room = [&](int side, Word word) {
    const int n = total[side][word];
    return held[side][word] < (n < 2 ? 0 : std::max(1, n / 3));
  };
  const auto hold = [&](Combination& c) {
    c.held_out = held_[f][c.a * words_ + c.b] = true;
    ++held[0][c.a], ++held[1][c.b];
  };
  const auto in_textbook = [&](const Combination& c) {
    return std::any_of(std::begin(kTextbook), std::end(kTextbook), [&](const Named& n) {
      return n.family == family && lexicon_.words.text(c.a) == n.a && lexicon_.words.text(c.b) == n.b;
    });
  };
  for (Combination& c : all_[f])
    if (in_textbook(c)) hold(c);
  for (Combination& c : all_[f])
    if (!c.held_out && hash_of(name_of(family), lexicon_.words.text(c.a), lexicon_.words.text(c.b)) % kOneIn == 0 &&
        room(0, c.a) && room(1, c.b))
      hold(c);
}

bool Split::held_out(Family family, Word a, Word b) const {
  return held_[static_cast<std::size_t>(family)][a * words_ + b];
}

const Split& the_split() {
  static const Split the(lexicon());
  return the;
}

}  // namespace fovea::demo
