// Sets as files that other programs read.
#include <array>

#include <nlohmann/json.hpp>

#include "demo/corpus.hpp"
#include "demo/tokenizer.hpp"
#include "io/output_file.hpp"

namespace fovea::demo {
namespace {

using nlohmann::ordered_json;

ordered_json texts(const std::vector<Word>& tokens) {
  ordered_json out = ordered_json::array();
  for (const Word w : tokens) out.push_back(lexicon().words.text(w));
  return out;
}

ordered_json text(Word word) { return word == kNoWord ? ordered_json() : ordered_json(lexicon().words.text(word)); }

std::string lines(const std::vector<SentencePair>& pairs) {
  std::string out;
  for (const SentencePair& pair : pairs) out += to_jsonl(pair) + '\n';
  return out;
}

}  // namespace

std::string to_jsonl(const SentencePair& pair) {
  ordered_json links = ordered_json::array(), marks = ordered_json::array(), held = ordered_json::array();
  for (const Link& l : pair.links) links.push_back({l.english, l.french});
  for (const Mark& m : pair.marks)
    marks.push_back({{"kind", name_of(m.kind)},
                     {"token", m.token},
                     {"source", m.source},
                     {"other", m.other},
                     {"deciding", m.deciding},
                     {"french", m.french},
                     {"right", text(m.right)},
                     {"wrong", text(m.wrong)}});
  for (const HeldOut& h : pair.held_out) held.push_back({name_of(h.family), text(h.a), text(h.b)});
  return ordered_json{{"en", texts(pair.english)},        {"fr", texts(pair.french)},   {"text", english_text(pair)},
                      {"translation", french_text(pair)}, {"links", std::move(links)},  {"kind", name_of(pair.kind)},
                      {"marks", std::move(marks)},        {"held_out", std::move(held)}}
      .dump();
}

void write_sets(const std::filesystem::path& folder, const Corpus& corpus) {
  std::filesystem::create_directories(folder);
  io::write_file(folder / "train.jsonl", lines(corpus.pairs));
  for (const EvaluationSet& set : evaluation_sets()) io::write_file(folder / (set.name + ".jsonl"), lines(set.pairs));
  std::string book;
  for (const TextbookSentence& t : textbook())
    book += ordered_json{{"text", t.english}, {"translation", t.french}}.dump() + '\n';
  io::write_file(folder / "textbook.jsonl", book);
  io::write_file(folder / "tokenizer.json", tokenizer_json());
}

}  // namespace fovea::demo
