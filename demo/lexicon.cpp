// Reads the tables. The order in which words are added is the order of the vocabulary's ids.
#include "demo/lexicon.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "demo/inflection.hpp"
#include "demo/tables.hpp"

namespace fovea::demo {
namespace {

constexpr std::string_view kGroups[] = {"living", "way",   "food",  "object",    "building", "any",
                                        "colour", "fresh", "thing", "container", "ground",   "works"};

class Loader {
 public:
  Lexicon load() {
    function_words();
    phrases();
    nouns();
    names();
    adjectives();
    transitive();
    intransitive();
    possessions();
    senses();
    return std::move(out_);
  }

 private:
  std::vector<Word> words(std::string_view text) {
    std::vector<Word> out;
    for (const auto part : split_list(text, ' ')) out.push_back(out_.words.add(part));
    return out;
  }
  static Gender gender(const Row& row, std::string_view field) {
    if (field != "m" && field != "f") row.fail(fmt::format("gender \"{}\"; expected m or f", field));
    return field == "m" ? Gender::Masculine : Gender::Feminine;
  }
  static Classes classes(const Row& row, std::string_view letters) {
    for (const char letter : letters)
      if (std::string_view("AHWFOLBXMS").find(letter) == std::string_view::npos)
        row.fail(fmt::format("class {}; expected some of A H W F O L B X M S", letter));
    return classes_of(letters);
  }
  unsigned groups(const Row& row, std::string_view names) const {
    unsigned set = 0;
    for (const auto name : split_list(names)) {
      const auto* at = std::find(std::begin(kGroups), std::end(kGroups), name);
      if (at == std::end(kGroups)) row.fail(fmt::format("no group of adjectives is called \"{}\"", name));
      set |= 1u << (at - std::begin(kGroups));
    }
    return set;
  }
  /// All four forms from the two singular ones.
  Forms forms(std::string_view masculine, std::string_view feminine) {
    Forms out;
    std::size_t g = 0;
    for (const auto form : {masculine, feminine}) {
      out.word[g][0] = out_.words.add(form);
      out.word[g][1] = out_.words.add(french_plural(form));
      ++g;
    }
    return out;
  }
  Forms participle(std::string_view masculine) { return forms(masculine, std::string(masculine) + "e"); }

  void function_words() {
    std::vector<std::pair<Word, std::string_view>> elided;
    for (const Row& row : read_table(tables::function_words, "function_words", 2, 4)) {
      const Word word = out_.words.add(row[0]);
      if (row[2] == "begins") out_.words.add_capital(word);
      if (!row[3].empty()) elided.emplace_back(word, row[3]);
    }
    for (const auto& [word, form] : elided) out_.words.add_before_vowel(word, out_.words.id(form));
  }

  void phrases() {
    const std::map<std::string_view, std::vector<Phrasing>*> kinds = {{"adverb", &out_.adverbs},
                                                                      {"degree", &out_.degrees},
                                                                      {"time", &out_.times},
                                                                      {"opinion", &out_.opinions},
                                                                      {"preposition", &out_.prepositions}};
    for (const Row& row : read_table(tables::phrases, "phrases", 3, 3)) {
      const auto kind = kinds.find(row[0]);
      if (kind == kinds.end()) row.fail(fmt::format("no kind of phrase is called \"{}\"", row[0]));
      kind->second->push_back({words(row[1]), words(row[2])});
    }
  }

  void nouns() {
    for (const Row& row : read_table(tables::nouns, "nouns", 4, 8)) {
      Noun n;
      n.gender = gender(row, row[2]);
      classes(row, row[3]);
      n.letter = row[3][0];
      for (const auto trait : split_list(row[5])) {
        n.single |= trait == "single" || trait == "mass";
        n.mass |= trait == "mass";
        n.container |= trait == "container";
        if (trait != "single" && trait != "mass" && trait != "container")
          row.fail(fmt::format("no trait is called \"{}\"", trait));
      }
      for (const auto place : split_list(row[4]))
        if (place == "beside")
          n.beside = true;
        else
          n.places.push_back(out_.preposition(place));
      inflect(n, row[0], row[1], row[6], row[7]);
      if (!keys_.insert(n.key()).second) row.fail(fmt::format("\"{}\" stands twice", row[0]));
      out_.nouns.push_back(std::move(n));
    }
  }

  void inflect(Noun& n, std::string_view english, std::string_view french, std::string_view plural,
               std::string_view french_plural_form) {
    n.english[0] = out_.words.add(english);
    n.french[0] = words(french);
    if (n.single) return;
    n.english[1] = out_.words.add(plural.empty() ? english_plural(english) : std::string(plural));
    n.french[1] = words(french_plural_form.empty() ? french_plural(french) : std::string(french_plural_form));
  }

  void names() {
    for (const Row& row : read_table(tables::names, "names", 2, 2)) {
      Noun n;
      n.gender = gender(row, row[1]);
      n.letter = 'H';
      n.single = n.name = true;
      inflect(n, row[0], row[0], "", "");
      out_.words.add_capital(n.key());  // itself
      out_.nouns.push_back(std::move(n));
    }
  }

  void adjectives() {
    for (const Row& row : read_table(tables::adjectives, "adjectives", 4, 6)) {
      Adjective a;
      a.english = out_.words.add(row[0]);
      a.french = forms(row[1], row[2]);
      a.groups = groups(row, row[3]);
      a.before = row[4] == "before";
      if (!row[4].empty() && !a.before) row.fail(fmt::format("place \"{}\"; expected before, or nothing", row[4]));
      if (!row[5].empty()) a.before_vowel = out_.words.add(row[5]);
      out_.adjectives.push_back(a);
    }
  }

  void transitive() {
    for (const Row& row : read_table(tables::transitive, "transitive", 5, 5))
      out_.transitive.push_back({out_.words.add(row[0]), out_.words.add(row[1]), participle(row[2]),
                                 classes(row, row[3]), classes(row, row[4])});
  }

  void intransitive() {
    for (const Row& row : read_table(tables::intransitive, "intransitive", 5, 7)) {
      Intransitive v;
      v.past = words(row[0]);
      v.base = words(row[1]);
      if (row[3] != "avoir" && row[3] != "être" && row[3] != "self")
        row.fail(fmt::format("auxiliary \"{}\"; expected avoir, être or self", row[3]));
      v.auxiliary = row[3] == "avoir" ? Auxiliary::Avoir : row[3] == "self" ? Auxiliary::Self : Auxiliary::Etre;
      if (v.auxiliary == Auxiliary::Avoir)
        v.participle.word[0][0] = out_.words.add(row[2]);
      else
        v.participle = participle(row[2]);
      v.subjects = classes(row, row[4]);
      if (!row[5].empty()) {
        if (!row[6].ends_with("ait")) row.fail("an -ing form needs the imparfait, in -ait");
        // "had been resting" would need a pluperfect with être; avoir's verbs alone have one here.
        if (v.auxiliary == Auxiliary::Etre) row.fail("être verbs have no -ing form here");
        v.ing = out_.words.add(row[5]);
        v.imparfait = {out_.words.add(row[6]),
                       out_.words.add(std::string(row[6].substr(0, row[6].size() - 3)) + "aient")};
      }
      out_.intransitive.push_back(std::move(v));
    }
  }

  void possessions() {
    for (const Row& row : read_table(tables::possessions, "possessions", 5, 6))
      out_.possessions.push_back({out_.words.add(row[0]), out_.words.add(row[1]), gender(row, row[2]),
                                  row[3] == "plural", classes(row, row[4]), row[5] == "stretches"});
    for (const Row& row : read_table(tables::possession_verbs, "possession_verbs", 2, 2))
      out_.possession_verbs.push_back({words(row[0]), words(row[1])});
  }

  std::map<std::string, std::vector<const Noun*>, std::less<>> scenes() {
    std::map<std::string, std::vector<const Noun*>, std::less<>> out;
    std::set<Word> seen;
    for (const Row& row : read_table(tables::scenes, "scenes", 2, 2))
      for (const auto name : split_list(row[1])) {
        const Noun& noun = out_.noun(name);
        if (!seen.insert(noun.key()).second) row.fail(fmt::format("\"{}\" stands in another scene too", name));
        out[std::string(row[0])].push_back(&noun);
      }
    return out;
  }

  void senses() {
    const auto scene_of = scenes();
    const std::vector<Row> rows = read_table(tables::senses, "senses", 5, 7);
    std::vector<unsigned> group_sets;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Row& row = rows[i];
      Sense s;
      s.noun.letter = 'S';
      s.noun.gender = gender(row, row[2]);
      inflect(s.noun, row[0], row[1], row[6], row[5]);
      for (const auto name : split_list(row[3])) {
        const auto scene = scene_of.find(name);
        if (scene == scene_of.end()) row.fail(fmt::format("no scene is called \"{}\"", name));
        s.contexts.insert(s.contexts.end(), scene->second.begin(), scene->second.end());
      }
      group_sets.push_back(groups(row, row[4]));
      if (i % 2 == 0) out_.two_senses.push_back({s.noun.key(), {}});
      if (out_.two_senses.back().word != s.noun.key()) row.fail("the two senses of a word stand one below the other");
      out_.two_senses.back().senses[i % 2] = std::move(s);
    }
    if (rows.size() % 2) rows.back().fail("a second sense is missing");
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (const Adjective* a : out_.of_groups(group_sets[i]))
        if (!(a->groups & group_sets[i ^ 1])) out_.two_senses[i / 2].senses[i % 2].adjectives.push_back(a);
    check_contexts();
  }

  void check_contexts() const {
    for (const TwoSenses& two : out_.two_senses)
      for (const Noun* c : two.senses[0].contexts)
        for (const Noun* d : two.senses[1].contexts)
          if (c == d)
            throw Error(fmt::format("demo lexicon, senses.tsv: both senses of \"{}\" have the context \"{}\"",
                                    out_.words.text(two.word), out_.words.text(c->key())));
  }

  Lexicon out_;
  std::set<Word> keys_;
};

}  // namespace

std::vector<const Noun*> Lexicon::of(Classes classes) const {
  std::vector<const Noun*> out;
  for (const Noun& n : nouns)
    if (class_of(n.letter) & classes) out.push_back(&n);
  return out;
}

std::vector<const Adjective*> Lexicon::of_groups(unsigned groups) const {
  std::vector<const Adjective*> out;
  for (const Adjective& a : adjectives)
    if (a.groups & groups) out.push_back(&a);
  return out;
}

const Noun& Lexicon::noun(std::string_view english) const {
  const Word key = words.id(english);
  for (const Noun& n : nouns)
    if (n.key() == key) return n;
  throw Error(fmt::format("demo lexicon: \"{}\" is no noun of nouns.tsv", english));
}

int Lexicon::preposition(std::string_view english) const {
  const auto parts = split_list(english, ' ');
  for (std::size_t i = 0; i < prepositions.size(); ++i) {
    const auto& have = prepositions[i].english;
    if (have.size() == parts.size() && std::equal(have.begin(), have.end(), parts.begin(),
                                                  [&](Word w, std::string_view t) { return words.text(w) == t; }))
      return static_cast<int>(i);
  }
  throw Error(fmt::format("demo lexicon: \"{}\" is no preposition of phrases.tsv", english));
}

const Lexicon& lexicon() {
  static const Lexicon the = Loader().load();
  return the;
}

}  // namespace fovea::demo
