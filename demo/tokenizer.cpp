#include "demo/tokenizer.hpp"

#include <nlohmann/json.hpp>

#include "demo/lexicon.hpp"

namespace fovea::demo {
namespace {

using nlohmann::ordered_json;

/// From first to last: the one English word with an apostrophe inside; a French word that elides, with its apostrophe;
/// words, with their hyphens; any other sign by itself. \p{L} stands here as seldom as it can: each is compiled anew
/// when a model is loaded, and takes a millisecond.
constexpr const char* kWords = R"(didn't|\p{L}+(?:'|(?:-\p{L}+)*)|[^\s\p{L}])";

ordered_json added_token(Word id, const std::string& text) {
  return {{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

ordered_json replacement(const char* what, const char* by) {
  return {{"type", "Replace"}, {"pattern", {{"String", what}}}, {"content", by}};
}

}  // namespace

std::string tokenizer_json() {
  const Vocabulary& words = lexicon().words;
  const std::string end = words.text(kEnd);
  ordered_json vocabulary = ordered_json::object(), added = ordered_json::array();
  for (int id = 0; id < words.size(); ++id) vocabulary[words.text(static_cast<Word>(id))] = id;
  for (const Word special : {kPad, kEnd, kUnknown}) added.push_back(added_token(special, words.text(special)));

  const auto sequence = [](const char* id) { return ordered_json{{"Sequence", {{"id", id}, {"type_id", 0}}}}; };
  const ordered_json closing = {{"SpecialToken", {{"id", end}, {"type_id", 0}}}};
  ordered_json single = ordered_json::array(), pair = ordered_json::array();
  for (const auto& part : {sequence("A"), closing}) single.push_back(part), pair.push_back(part);
  for (const auto& part : {sequence("B"), closing}) pair.push_back(part);

  // WordPiece's decoder, whose prefix no word has, is what puts spaces between words; the rest takes some of them away.
  ordered_json decoders = ordered_json::array();
  decoders.push_back({{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", false}});
  decoders.push_back({{"type", "Fuse"}});
  for (const auto& [what, by] : {std::pair{"' ", "'"}, {" .", "."}, {" ,", ","}})
    decoders.push_back(replacement(what, by));

  const ordered_json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", replacement("\u2019", "'")},
      {"pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"Regex", kWords}}}, {"behavior", "Removed"}, {"invert", true}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", single},
        {"pair", pair},
        {"special_tokens",
         {{end, {{"id", end}, {"ids", ordered_json::array({kEnd})}, {"tokens", ordered_json::array({end})}}}}}}},
      {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
      {"model", {{"type", "WordLevel"}, {"vocab", vocabulary}, {"unk_token", words.text(kUnknown)}}}};
  return tokenizer.dump(1) + '\n';
}

}  // namespace fovea::demo
