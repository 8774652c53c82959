// Sets as files that other programs read.
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "demo/corpus.hpp"
#include "demo/tokenizer.hpp"
#include "io/output_file.hpp"

namespace fovea::demo {
namespace {

using nlohmann::json;

// A corpus has 8 million tokens: lines are put together as text, and only strings go through the JSON library, once
// each.
const std::string& quoted(Word word) {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> out;
    for (int w = 0; w < lexicon().words.size(); ++w)
      out.push_back(json(lexicon().words.text(static_cast<Word>(w))).dump());
    return out;
  }();
  static const std::string null = "null";
  return word == kNoWord ? null : all[word];
}

/// [one,two]: `write` appends one of them to the line.
template <class List, class Write>
void list(std::string& line, const char* name, const List& items, Write write) {
  line += fmt::format(R"(,"{}":[)", name);
  bool first = true;
  for (const auto& item : items) {
    if (!std::exchange(first, false)) line += ',';
    write(item);
  }
  line += ']';
}

std::string lines(const std::vector<SentencePair>& pairs) {
  std::string out;
  for (const SentencePair& pair : pairs) out += to_jsonl(pair) + '\n';
  return out;
}

}  // namespace

std::string to_jsonl(const SentencePair& pair) {
  std::string line = fmt::format(R"({{"kind":"{}","text":{},"translation":{})", name_of(pair.kind),
                                 json(english_text(pair)).dump(), json(french_text(pair)).dump());
  const auto put = [&](std::string_view text) { line += text; };
  const auto word = [&](Word w) { put(quoted(w)); };
  list(line, "en", pair.english, word);
  list(line, "fr", pair.french, word);
  list(line, "links", pair.links, [&](const Link& l) { put(fmt::format("[{},{}]", l.english, l.french)); });
  list(line, "marks", pair.marks, [&](const Mark& m) {
    put(fmt::format(
        R"({{"kind":"{}","token":{},"source":{},"other":{},"deciding":{},"french":{},"right":{},"wrong":{}}})",
        name_of(m.kind), m.token, m.source, m.other, m.deciding, m.french, quoted(m.right), quoted(m.wrong)));
  });
  list(line, "held_out", pair.held_out,
       [&](const HeldOut& h) { put(fmt::format(R"(["{}",{},{}])", name_of(h.family), quoted(h.a), quoted(h.b))); });
  return line + '}';
}

void write_sets(const std::filesystem::path& folder, const Corpus& corpus) {
  std::filesystem::create_directories(folder);
  io::write_file(folder / "train.jsonl", lines(corpus.pairs));
  for (const EvaluationSet& set : evaluation_sets()) io::write_file(folder / (set.name + ".jsonl"), lines(set.pairs));
  std::string book;
  for (const TextbookSentence& t : textbook())
    book += json{{"text", t.english}, {"translation", t.french}}.dump() + '\n';
  io::write_file(folder / "textbook.jsonl", book);
  io::write_file(folder / "tokenizer.json", tokenizer_json());
}

}  // namespace fovea::demo
