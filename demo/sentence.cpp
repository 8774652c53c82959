#include "demo/sentence.hpp"

namespace fovea::demo {

std::string_view name_of(Kind kind) {
  static constexpr std::string_view kNames[] = {"coreference", "fit",       "sense",   "possessive",
                                                "question",    "agreement", "generic", "long"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string_view name_of(MarkKind kind) {
  static constexpr std::string_view kNames[] = {"pronoun", "sense", "possessive"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string text_of(const std::vector<Word>& tokens, bool french) {
  const Vocabulary& words = lexicon().words;
  std::string out;
  for (const Word w : tokens) {
    const std::string& word = words.text(w);
    const bool close = word == "." || word == "," || (word == "?" && !french);
    if (!out.empty() && !close && out.back() != '\'') out += ' ';
    out += word;
  }
  return out;
}

std::string english_text(const SentencePair& pair) { return text_of(pair.english, false); }
std::string french_text(const SentencePair& pair) { return text_of(pair.french, true); }

}  // namespace fovea::demo
