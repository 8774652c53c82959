// The demo language: is its French right, do its links and splits hold, and is it the same everywhere?
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fovea/error.hpp>

#include "demo/corpus.hpp"
#include "demo/tokenizer.hpp"
#include "io/tokenizer.hpp"
#include "support/errors.hpp"
#include "support/sanitized.hpp"
#include "support/scratch.hpp"

namespace fovea::demo {
namespace {

const Vocabulary& words() { return lexicon().words; }
std::string text(Word w) { return words().text(w); }
/// As inside a sentence.
std::string lower_text(Word w) {
  static const std::map<std::string, std::string> lower = [] {
    std::map<std::string, std::string> out;
    for (int i = 0; i < words().size(); ++i)
      if (const std::string t = text(static_cast<Word>(i)); capitalised(t) != t) out[capitalised(t)] = t;
    return out;
  }();
  const auto at = lower.find(text(w));
  return at == lower.end() ? text(w) : at->second;
}

/// A few thousand sentences of every kind: a prefix of what the model is trained with (larger corpora begin with
/// smaller).
const Corpus& small_corpus() {
  static const Corpus the = make_corpus(1, 8000);
  return the;
}
std::vector<const SentencePair*> everything() {
  std::vector<const SentencePair*> out;
  for (const SentencePair& p : small_corpus().pairs) out.push_back(&p);
  for (const EvaluationSet& set : evaluation_sets())
    for (const SentencePair& p : set.pairs) out.push_back(&p);
  return out;
}
const EvaluationSet& set_called(const std::string& name) {
  for (const EvaluationSet& set : evaluation_sets())
    if (set.name == name) return set;
  throw Error("no evaluation set is called " + name);
}

/// English form → noun and whether it is the plural; words with two senses are not among them.
struct Form {
  const Noun* noun;
  bool plural;
};
const std::map<Word, Form>& forms() {
  static const std::map<Word, Form> the = [] {
    std::map<Word, Form> out;
    for (const Noun& n : lexicon().nouns) {
      out[n.english[0]] = {&n, false};
      if (!n.single) out[n.english[1]] = {&n, true};
    }
    return out;
  }();
  return the;
}
/// What splits name the noun at an English position by.
Word key_at(const SentencePair& p, int at) {
  const Word word = p.english[static_cast<std::size_t>(at)];
  if (const auto form = forms().find(word); form != forms().end()) return form->second.noun->key();
  for (const TwoSenses& two : lexicon().two_senses)
    if (two.senses[0].noun.english[0] == word || two.senses[0].noun.english[1] == word) return two.word;
  return word;
}
std::vector<Word> translations(const SentencePair& p, int at) {
  std::vector<Word> out;
  for (const Link& l : p.links)
    if (l.english == at) out.push_back(p.french[static_cast<std::size_t>(l.french)]);
  return out;
}

bool opens_with_vowel(const std::string& word) {
  static const std::vector<std::string> kVowels = {"a", "e", "i", "o", "u", "h", "à", "â", "é", "è", "ê",
                                                   "î", "ô", "œ", "A", "E", "I", "O", "U", "H", "À", "É"};
  return std::any_of(kVowels.begin(), kVowels.end(), [&](const std::string& v) { return word.starts_with(v); });
}

TEST(DemoFrench, ElidesAndContractsWhereItMust) {
  const std::set<std::string> full = {"le", "la", "de", "ne", "se", "que", "ce", "ma", "sa", "puisque"};
  const std::set<std::string> short_forms = {"l'", "d'", "n'", "s'", "qu'", "puisqu'", "cet", "bel", "vieil", "nouvel"};
  std::map<std::string, int> met;
  for (const SentencePair* p : everything())
    for (std::size_t i = 0; i + 1 < p->french.size(); ++i) {
      const std::string a = i == 0 ? lower_text(p->french[0]) : text(p->french[i]), b = text(p->french[i + 1]);
      ++met[a];
      if (full.contains(a)) { EXPECT_FALSE(opens_with_vowel(b)) << french_text(*p); }
      if (short_forms.contains(a)) { EXPECT_TRUE(opens_with_vowel(b)) << french_text(*p); }
      EXPECT_FALSE(a == "de" && (b == "le" || b == "les" || b == "des" || b == "du")) << french_text(*p);
    }
  for (const auto& form : short_forms) EXPECT_GT(met[form], 0) << form;
}

TEST(DemoFrench, ArticlesAgreeWithTheirNouns) {
  // By the French noun right after the article: its gender and number are those of nouns.tsv.
  std::map<Word, std::set<std::string>> of;  // "m0", "f1"
  const auto add = [&](const Noun& n) {
    for (const bool plural : {false, true})
      if (!n.french[plural].empty())
        of[n.french[plural][0]].insert((n.gender == Gender::Feminine ? "f" : "m") + std::to_string(plural));
  };
  for (const Noun& n : lexicon().nouns) add(n);
  for (const TwoSenses& two : lexicon().two_senses)
    for (const Sense& s : two.senses) add(s.noun);
  const std::map<std::string, std::set<std::string>> takes = {
      {"le", {"m0"}},    {"la", {"f0"}},        {"l'", {"m0", "f0"}},   {"les", {"m1", "f1"}},
      {"un", {"m0"}},    {"une", {"f0"}},       {"ce", {"m0"}},         {"cet", {"m0"}},
      {"cette", {"f0"}}, {"ces", {"m1", "f1"}}, {"ma", {"f0"}},         {"mes", {"m1", "f1"}},
      {"sa", {"f0"}},    {"du", {"m0"}},        {"deux", {"m1", "f1"}}, {"chaque", {"m0", "f0"}},
      {"quel", {"m0"}},  {"quelles", {"f1"}}};
  int checked = 0;
  for (const SentencePair* p : everything())
    for (std::size_t i = 0; i + 1 < p->french.size(); ++i) {
      const auto article = takes.find(i == 0 ? lower_text(p->french[0]) : text(p->french[i]));
      const auto noun = of.find(p->french[i + 1]);
      if (article == takes.end() || noun == of.end()) continue;
      ++checked;
      EXPECT_TRUE(std::any_of(noun->second.begin(), noun->second.end(),
                              [&](const auto& n) { return article->second.contains(n); }))
          << french_text(*p) << ": " << article->first << " " << text(noun->first);
    }
  EXPECT_GT(checked, 10'000);
}

TEST(DemoFrench, PronounsAndTheirAdjectivesAgreeWithTheAntecedent) {
  int checked = 0;
  for (const SentencePair* p : everything())
    for (const Mark& m : p->marks) {
      if (m.kind != MarkKind::Pronoun) continue;
      const Form form = forms().at(p->english[static_cast<std::size_t>(m.source)]);
      const bool f = form.noun->gender == Gender::Feminine;
      const std::string expected = f ? (form.plural ? "elles" : "elle") : (form.plural ? "ils" : "il");
      EXPECT_EQ(lower_text(m.right), expected) << english_text(*p);
      for (const Adjective& a : lexicon().adjectives)
        if (a.english == p->english[static_cast<std::size_t>(m.deciding)]) {
          EXPECT_EQ(translations(*p, m.deciding), std::vector{a.french(form.noun->gender, form.plural)})
              << french_text(*p);
          ++checked;
        }
      if (m.wrong == kNoWord) continue;
      EXPECT_NE(forms().at(p->english[static_cast<std::size_t>(m.other)]).noun->gender, form.noun->gender)
          << english_text(*p);
    }
  EXPECT_GT(checked, 2000);
}

TEST(DemoFrench, ParticiplesAgreeInRelativeClauses) {
  int objects = 0, subjects = 0;
  for (const SentencePair& p : set_called("agreement").pairs) {
    const auto rel =
        std::find_if(p.english.begin(), p.english.end(), [](Word w) { return text(w) == "that" || text(w) == "who"; });
    ASSERT_NE(rel, p.english.end());
    const auto at = static_cast<int>(rel - p.english.begin());
    const Form head = forms().at(p.english[static_cast<std::size_t>(at - 1)]);
    const bool object = text(translations(p, at)[0]).starts_with("qu'") || text(translations(p, at)[0]) == "que";
    const auto expect = [&](std::size_t i, const Forms& participle, int& count) {
      EXPECT_EQ(translations(p, static_cast<int>(i)).back(), participle(head.noun->gender, head.plural))
          << french_text(p);
      ++count;
    };
    bool found = false;
    for (auto i = static_cast<std::size_t>(at) + 1; i < p.english.size() && !found; ++i) {
      for (const Transitive& v : lexicon().transitive)
        if (object && !found && v.past == p.english[i]) found = true, expect(i, v.participle, objects);
      for (const Intransitive& v : lexicon().intransitive)
        if (!object && !found && (v.past[0] == p.english[i] || v.base[0] == p.english[i]))
          found = true, expect(i, v.participle, subjects);
    }
    EXPECT_TRUE(found) << english_text(p);
  }
  EXPECT_GT(objects, 100);
  EXPECT_GT(subjects, 100);
}

TEST(DemoCorpus, EveryWordIsLinkedBothWays) {
  for (const SentencePair* p : everything()) {
    std::vector<bool> english(p->english.size(), false), french(p->french.size(), false);
    ASSERT_TRUE(std::is_sorted(p->links.begin(), p->links.end()));
    for (const Link& l : p->links)
      english.at(static_cast<std::size_t>(l.english)) = french.at(static_cast<std::size_t>(l.french)) = true;
    EXPECT_TRUE(std::find(english.begin(), english.end(), false) == english.end()) << english_text(*p);
    EXPECT_TRUE(std::find(french.begin(), french.end(), false) == french.end()) << french_text(*p);
    for (const Mark& m : p->marks) {
      EXPECT_EQ(m.right, p->french.at(static_cast<std::size_t>(m.french)));
      EXPECT_EQ(translations(*p, m.token), std::vector{m.right});
      EXPECT_NE(m.wrong, m.right);
      if (m.kind == MarkKind::Possessive &&
          opens_with_vowel(text(p->french.at(static_cast<std::size_t>(m.french) + 1)))) {
        EXPECT_EQ(m.wrong, kNoWord) << french_text(*p);  // son arc, son oreille
      }
      EXPECT_GE(m.source, 0);
    }
  }
}

/// The combinations that can be read off a sentence without asking the generator.
void for_each_combination(const SentencePair& p, const std::function<void(Family, Word, Word)>& visit) {
  for (const Mark& m : p.marks) {
    if (m.kind == MarkKind::Pronoun)
      visit(Family::Adjective, key_at(p, m.source), p.english[static_cast<std::size_t>(m.deciding)]);
    if (m.kind == MarkKind::Pronoun && m.source < m.other)
      visit(Family::Object, key_at(p, m.source), key_at(p, m.other));
    if (m.kind == MarkKind::Sense) visit(Family::Context, key_at(p, m.token), key_at(p, m.source));
    if (m.kind == MarkKind::Possessive) visit(Family::Possession, key_at(p, m.source), key_at(p, m.other));
  }
  for (std::size_t i = 0; i + 1 < p.english.size(); ++i)
    for (const Adjective& a : lexicon().adjectives)
      if (a.english == p.english[i] && forms().contains(p.english[i + 1]))
        visit(Family::Adjective, key_at(p, static_cast<int>(i) + 1), a.english);
}

TEST(DemoSplit, TrainingShowsNoHeldOutCombination) {
  int visited = 0;
  for (const SentencePair& p : small_corpus().pairs) {
    EXPECT_TRUE(p.held_out.empty());
    for_each_combination(p, [&](Family f, Word a, Word b) {
      ++visited;
      EXPECT_FALSE(the_split().held_out(f, a, b)) << text(a) << " " << text(b) << ": " << english_text(p);
    });
  }
  EXPECT_GT(visited, 8000);
}

TEST(DemoSplit, EveryHeldOutSentenceTurnsOnAHeldOutCombination) {
  for (const EvaluationSet& set : evaluation_sets())
    for (const SentencePair& p : set.pairs) {
      EXPECT_EQ(p.held_out.empty(), !set.held_out) << set.name << ": " << english_text(p);
      for (const HeldOut& h : p.held_out) EXPECT_TRUE(the_split().held_out(h.family, h.a, h.b)) << english_text(p);
      int held = 0;
      for_each_combination(p, [&](Family f, Word a, Word b) { held += the_split().held_out(f, a, b); });
      if (set.name == "coreference" || set.name == "sense" || set.name == "possessive" || set.name == "fit") {
        EXPECT_GT(held, 0);
      }
      if (!set.held_out) { EXPECT_EQ(held, 0) << english_text(p); }
    }
}

TEST(DemoSplit, WhatIsHeldOutIsKnownFromOtherCombinations) {
  if (testing::kSanitized) GTEST_SKIP() << "skipped: 60,000 sentences take a plain build";
  // 60,000 of the 300,000 that are trained: what occurs in them occurs in all.
  std::set<Word> seen;
  std::set<std::pair<Word, Word>> senses;  // word as translated
  std::set<Word> contexts;
  for (const SentencePair& p : make_corpus(1, 60'000).pairs) {
    seen.insert(p.english.begin(), p.english.end());
    seen.insert(p.french.begin(), p.french.end());
    for (const Mark& m : p.marks)
      if (m.kind == MarkKind::Sense) senses.insert({key_at(p, m.token), m.right}), contexts.insert(key_at(p, m.source));
  }
  for (int w = kUnknown + 1; w < words().size(); ++w)
    EXPECT_TRUE(seen.contains(static_cast<Word>(w))) << text(static_cast<Word>(w));
  for (const auto& c : the_split().combinations(Family::Context))
    EXPECT_TRUE(contexts.contains(c.b)) << text(c.a) << " " << text(c.b);
  for (const TwoSenses& two : lexicon().two_senses)
    for (const Sense& s : two.senses)
      for (const bool plural : {false, true})
        EXPECT_TRUE(senses.contains({two.word, s.noun.french[plural][0]})) << text(s.noun.french[plural][0]);
}

TEST(DemoSplit, HoldsOutASixthAndNeverMostOfAWord) {
  for (int f = 0; f < kFamilies; ++f) {
    std::map<Word, std::pair<int, int>> by_word[2];
    int held = 0;
    const auto all = the_split().combinations(static_cast<Family>(f));
    for (const auto& c : all) {
      held += c.held_out;
      for (auto* count : {&by_word[0][c.a], &by_word[1][c.b]}) count->first += c.held_out, ++count->second;
    }
    EXPECT_NEAR(static_cast<double>(held) / static_cast<double>(all.size()), 1.0 / 6, 0.04)
        << name_of(static_cast<Family>(f));
    for (const auto& side : by_word)
      for (const auto& [word, count] : side) EXPECT_LT(count.first * 2, count.second + 1) << text(word);
  }
  const auto held = [](Family f, const char* a, const char* b) {
    return the_split().held_out(f, words().id(a), words().id(b));
  };
  EXPECT_TRUE(held(Family::Adjective, "animal", "tired") && held(Family::Adjective, "street", "wide"));
  EXPECT_TRUE(held(Family::Context, "bank", "river") && held(Family::Context, "bank", "flooded") &&
              held(Family::Context, "bank", "city"));
  EXPECT_TRUE(held(Family::Context, "seal", "sea") && held(Family::Object, "animal", "street"));
}

TEST(DemoCorpus, IsTheSameEverywhere) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](const SentencePair& p) {
    for (const char c : to_jsonl(p)) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  };
  for (std::size_t i = 0; i < 2000; ++i) add(small_corpus().pairs[i]);
  for (const EvaluationSet& set : evaluation_sets())
    for (const SentencePair& p : set.pairs) add(p);
  EXPECT_EQ(hash, 14455950684100873642u)
      << "the lexicon or the grammar has changed: the shipped model was trained on other sentences";
  const Corpus shorter = make_corpus(1, 500), other = make_corpus(2, 500);
  int same = 0;
  for (std::size_t i = 0; i < 500; ++i) {
    EXPECT_EQ(shorter.pairs[i].english, small_corpus().pairs[i].english);
    same += other.pairs[i].english == shorter.pairs[i].english;
  }
  EXPECT_EQ(same, 0);
}

TEST(DemoCorpus, NoSentenceStandsTwice) {
  std::set<std::string> seen;
  for (const TextbookSentence& t : textbook()) seen.insert(t.english);
  EXPECT_GE(seen.size(), 20u);
  for (const SentencePair* p : everything()) EXPECT_TRUE(seen.insert(english_text(*p)).second) << english_text(*p);
}

TEST(DemoCorpus, SetsHaveTheirSizesAndLengths) {
  std::map<Kind, int> kinds;
  for (const SentencePair& p : small_corpus().pairs) {
    ++kinds[p.kind];
    EXPECT_GE(p.english.size(), 3u);  // where the mark at its end is left out
    EXPECT_LE(p.english.size(), 44u);
  }
  EXPECT_EQ(kinds.size(), 8u);
  std::size_t longest = 0;
  for (const EvaluationSet& set : evaluation_sets()) {
    EXPECT_GE(set.pairs.size(), 400u) << set.name;
    int least = 4, most = 44;
    if (set.name.starts_with("length_")) { ASSERT_EQ(std::sscanf(set.name.c_str(), "length_%d_%d", &least, &most), 2); }
    for (const SentencePair& p : set.pairs) {
      EXPECT_GE(p.english.size(), static_cast<std::size_t>(least)) << set.name;
      EXPECT_LE(p.english.size(), static_cast<std::size_t>(most)) << set.name;
      longest = std::max(longest, p.english.size());
    }
  }
  EXPECT_GT(longest, 52u);
  EXPECT_EQ(evaluation_sets().size(), 18u);
  EXPECT_TRUE(testing::refuses([] { make_corpus(1, -1); }, {"-1", "0 to 10000000"}));
}

class DemoTokenizer : public ::testing::Test {
 protected:
  testing::Scratch folder_;
  io::Tokenizer tokenizer_ = io::Tokenizer::load(folder_.write("tokenizer.json", tokenizer_json()));
};

TEST_F(DemoTokenizer, ReadsAndWritesWhatTheGrammarSays) {
  EXPECT_EQ(tokenizer_.vocabulary_size(), words().size());
  EXPECT_LE(words().size(), 1700);
  for (const SentencePair* p : everything())
    for (const bool french : {false, true}) {
      std::vector<int> ids(french ? p->french.begin() : p->english.begin(),
                           french ? p->french.end() : p->english.end());
      ids.push_back(kEnd);
      const std::string sentence = french ? french_text(*p) : english_text(*p);
      ASSERT_EQ(tokenizer_.encode(sentence).ids, ids) << sentence;
      if (french) { ASSERT_EQ(tokenizer_.decode(ids), sentence); }
    }
}

TEST_F(DemoTokenizer, IsTheOneThatTheModelCarries) {
  EXPECT_EQ(testing::bytes_of(FOVEA_SOURCE "/demo/model/tokenizer.json"), tokenizer_json());
}

TEST_F(DemoTokenizer, KnowsEveryWordOfTheTextbook) {
  for (const TextbookSentence& t : textbook())
    for (const std::string& sentence : {t.english, t.french})
      for (const int id : tokenizer_.encode(sentence).ids) EXPECT_NE(id, kUnknown) << sentence;
  EXPECT_EQ(tokenizer_.decode(tokenizer_.encode(textbook()[0].french).ids), textbook()[0].french);
  EXPECT_EQ(tokenizer_.encode("didn\u2019t").ids, tokenizer_.encode("didn't").ids);
  EXPECT_EQ(tokenizer_.encode("chauve-souris").ids.size(), 2u);
  EXPECT_EQ(tokenizer_.encode("zebra").ids, (std::vector<int>{kUnknown, kEnd}));
}

TEST(DemoFiles, LinesHoldAllThatIsKnown) {
  const SentencePair& p = set_called("coreference").pairs[0];
  const auto line = nlohmann::json::parse(to_jsonl(p));
  EXPECT_EQ(line["en"].size(), p.english.size());
  EXPECT_EQ(line["text"], english_text(p));
  EXPECT_EQ(line["translation"], french_text(p));
  EXPECT_EQ(line["links"].size(), p.links.size());
  EXPECT_EQ(line["kind"], "coreference");
  EXPECT_EQ(line["marks"][0]["right"], text(p.marks[0].right));
  EXPECT_EQ(line["marks"][0]["wrong"], text(p.marks[0].wrong));
  EXPECT_EQ(line["held_out"][0][0], "adjective");
}

}  // namespace
}  // namespace fovea::demo
