#include "train/data.hpp"

#include <algorithm>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "core/utf8.hpp"
#include "demo/corpus.hpp"
#include "demo/lexicon.hpp"
#include "demo/tokenizer.hpp"
#include "io/input_file.hpp"
#include "io/tokenizer.hpp"

namespace fovea::train {
namespace {

constexpr std::int64_t kLargestFile = std::int64_t{4} << 30;

std::string text_of(const std::filesystem::path& path) {
  return io::read_text(io::InputFile::open(path), kLargestFile);
}

std::vector<std::string> lines_of(const std::filesystem::path& path, const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty())
      throw Error(fmt::format("{}: line {} is empty; expected one sentence a line", path.string(), lines.size() + 1));
    if (const auto at = first_bad_utf8(line))
      throw Error(fmt::format("{}: line {} is not UTF-8: byte {} is 0x{:02x}; convert the file first (iconv -t UTF-8)",
                              path.string(), lines.size() + 1, *at, static_cast<unsigned char>(line[*at])));
    lines.push_back(std::move(line));
  }
  if (lines.empty()) throw Error(fmt::format("{}: is empty; expected one sentence a line", path.string()));
  return lines;
}

Data from_files(const TextFiles& files, int positions) {
  const std::string source = text_of(files.source), target = text_of(files.target);
  const std::vector<std::string> sources = lines_of(files.source, source), targets = lines_of(files.target, target);
  if (sources.size() != targets.size())
    throw Error(fmt::format(
        "{} has {} lines and {} has {}; expected as many: line n of one is the translation of line n of the other",
        files.source.string(), sources.size(), files.target.string(), targets.size()));
  const bool given = !files.tokenizer.empty();
  const std::string name = given ? files.tokenizer.string() : "the tokenizer that was learnt",
                    json = given ? text_of(files.tokenizer)
                                 : io::Tokenizer::learn(source + "\n" + target, files.vocabulary);
  const io::Tokenizer tokenizer = io::Tokenizer::from_json(json, name);
  Data data{.pairs = {}, .held_out = {}, .tokenizer_json = json, .vocabulary = tokenizer.largest_id() + 1};
  const auto ids_of = [&](const std::string& text, const std::filesystem::path& file, std::size_t line) {
    std::vector<int> ids = tokenizer.encode(text).ids;
    if (std::ssize(ids) > positions)
      throw Error(fmt::format(
          "{}: line {} has {} tokens and the model {} positions; shorten it, or raise positions in the recipe",
          file.string(), line + 1, ids.size(), positions));
    if (ids.empty() || ids.back() != demo::kEnd)
      throw Error(fmt::format(
          "{}: does not end a text with token {} (line {} of {}); expected a tokenizer that adds </s> as token {}",
          name, int{demo::kEnd}, line + 1, file.string(), int{demo::kEnd}));
    return ids;
  };
  for (std::size_t i = 0; i < sources.size(); ++i)
    data.pairs.push_back({ids_of(sources[i], files.source, i), ids_of(targets[i], files.target, i)});
  return data;
}

bool too_long(const Pair& p, const Recipe& recipe) {
  return recipe.longest > 0 && std::cmp_greater(p.source.size(), recipe.longest);
}

/// Puts the pair at the end, unless the recipe leaves it out.
void add(std::vector<Pair>& pairs, const demo::SentencePair& s, const Recipe& recipe) {
  Pair p{{s.english.begin(), s.english.end()}, {s.french.begin(), s.french.end()}};
  p.source.push_back(demo::kEnd), p.target.push_back(demo::kEnd);
  if (too_long(p, recipe)) return;
  const std::size_t longest = std::max(p.source.size(), p.target.size());
  if (std::cmp_greater(longest, recipe.positions()))
    throw Error(fmt::format(
        "the demo language has a sentence of {} tokens and the model {} positions; raise positions in the recipe",
        longest, recipe.positions()));
  pairs.push_back(std::move(p));
}

/// The first of every held-out set, then the second of every one, until there are enough.
std::vector<Pair> held_out_of_demo(const Recipe& recipe) {
  std::vector<Pair> pairs;
  bool more = recipe.held_out > 0;
  for (std::size_t i = 0; more; ++i) {
    more = false;
    for (const demo::EvaluationSet& set : demo::evaluation_sets()) {
      if (!set.held_out || i >= set.pairs.size()) continue;
      if (std::cmp_equal(pairs.size(), recipe.held_out)) return pairs;
      add(pairs, set.pairs[i], recipe);
      more = true;
    }
  }
  return pairs;
}

Data from_demo(const Recipe& recipe) {
  Data data{.pairs = {},
            .held_out = held_out_of_demo(recipe),
            .tokenizer_json = demo::tokenizer_json(),
            .vocabulary = demo::lexicon().words.size()};
  const demo::Corpus corpus = demo::make_corpus(recipe.data_seed, recipe.pairs);
  for (const demo::SentencePair& s : corpus.pairs) add(data.pairs, s, recipe);
  return data;
}

}  // namespace

Data data_of(const Recipe& recipe) {
  if (!recipe.files) return from_demo(recipe);
  Data data = from_files(*recipe.files, recipe.positions());
  const std::size_t all = data.pairs.size();
  std::erase_if(data.pairs, [&](const Pair& p) { return too_long(p, recipe); });
  if (data.pairs.empty())
    throw Error(fmt::format("{}: all {} sources have more than {} tokens, the recipe's longest; raise it",
                            recipe.files->source.string(), all, recipe.longest));
  if (std::cmp_greater_equal(recipe.held_out, data.pairs.size()))
    throw Error(fmt::format("{}: {} of {} pairs are held out; expected some to learn from",
                            recipe.files->source.string(), recipe.held_out, data.pairs.size()));
  const auto first = data.pairs.end() - recipe.held_out;
  data.held_out.assign(std::make_move_iterator(first), std::make_move_iterator(data.pairs.end()));
  data.pairs.erase(first, data.pairs.end());
  return data;
}

}  // namespace fovea::train
