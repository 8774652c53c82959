// The sets of sentences: for training, and for evaluation by phenomenon and by length.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "demo/sentence.hpp"

namespace fovea::demo {

inline constexpr int kShortest = 4,
                     kLongest = 44;  // English tokens of a training sentence, the mark at its end included

struct Corpus {
  std::vector<SentencePair> pairs;
};

/// `pairs` different sentences of the mix that the model learns from. The same seed gives the same corpus everywhere,
/// and a larger one begins with a smaller one. In an eighth of them both languages lack the mark at their
/// ends. No sentence of evaluation_sets() or textbook() is in it, with or without that, and no held-out
/// combination. Error when `pairs` is negative or over 10 million.
Corpus make_corpus(std::uint64_t seed, int pairs);

struct EvaluationSet {
  std::string name;  // "coreference", "sense_seen", "length_27_32", …
  bool held_out;     // every sentence has a combination that training never shows
  std::vector<SentencePair> pairs;
};

/// Always the same sets; no sentence stands in two of them. Held out: coreference, fit, sense, agreement, possessive,
/// question. For comparison, of trained combinations: coreference_seen, sense_seen. By length, of trained combinations:
/// length_4_8 … length_53_60; the last two are longer than any that is trained. In coreference, fit and
/// coreference_seen the two nouns' genders differ, so that the pronoun tells which was meant.
const std::vector<EvaluationSet>& evaluation_sets();

struct TextbookSentence {
  std::string english, french;
};
const std::vector<TextbookSentence>& textbook();

/// One object, on one line: kind, text and translation (as written), en and fr (tokens), links, marks, held_out.
std::string to_jsonl(const SentencePair& pair);
/// train.jsonl, one file for each evaluation set, textbook.jsonl and tokenizer.json into a folder, which is made if
/// need be.
void write_sets(const std::filesystem::path& folder, const Corpus& corpus);

}  // namespace fovea::demo
