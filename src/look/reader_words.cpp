// Words that a vocabulary lacks, and what was written as text again.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/edit_distance.hpp"
#include "io/quote.hpp"
#include "look/reader.hpp"

namespace fovea::look {
namespace {

/// Lower case of ASCII, and of the accented letters that Western European languages share (U+00C0 to U+00DE).
std::string folded(std::string_view word) {
  std::string lower(word);
  for (std::size_t i = 0; i < lower.size(); ++i) {
    const auto byte = static_cast<unsigned char>(lower[i]);
    const bool after_c3 = i > 0 && static_cast<unsigned char>(lower[i - 1]) == 0xc3;
    const bool ascii = byte >= 'A' && byte <= 'Z', latin = after_c3 && byte >= 0x80 && byte <= 0x9e && byte != 0x97;
    if (ascii || latin) lower[i] = static_cast<char>(byte + 0x20);
  }
  return lower;
}

bool is_word(std::string_view piece) {
  return !piece.empty() && piece.front() != '<' && piece.front() != '[' && std::ranges::any_of(piece, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
  });
}

}  // namespace

/// The id that stands for what the vocabulary lacks; nothing where it lacks nothing (byte-level vocabularies).
std::optional<int> Reader::unknown() const {
  for (const char* piece : {"<unk>", "[UNK]"})
    if (const std::optional<int> id = tokenizer_.id_of(piece)) return id;
  return std::nullopt;
}

std::vector<std::string> Reader::near(std::string_view word) const {
  constexpr std::size_t kMost = 5;
  const std::string wanted = folded(word);
  const int allowed = 1 + static_cast<int>(wanted.size()) / 4;  // edits; more would only be noise
  std::vector<std::pair<int, std::string>> found;
  for (int id = 0; id <= tokenizer_.largest_id(); ++id) {
    std::string piece = spelled(id);
    if (!is_word(piece)) continue;
    // As many edits as the lengths differ by are needed at least; without this a word of 1 MB takes a minute.
    if (std::abs(std::ssize(piece) - std::ssize(wanted)) > allowed) continue;
    if (const int edits = edit_distance(wanted, folded(piece)); edits <= allowed)
      found.emplace_back(edits, std::move(piece));
  }
  std::ranges::stable_sort(found, {},
                           &std::pair<int, std::string>::first);  // of equals the more frequent, which come first
  std::vector<std::string> words;
  for (auto& [edits, piece] : found) {
    if (words.size() == kMost) break;
    if (std::ranges::find(words, piece) == words.end()) words.push_back(std::move(piece));
  }
  return words;
}

void Reader::refuse_unknown(std::string_view text, const Reading& reading, std::string_view what) const {
  const std::optional<int> unknown_id = unknown();
  constexpr std::size_t kNamed = 8;  // words; a line has to stay readable
  std::vector<std::string> complaints;
  std::set<std::string_view> seen;
  for (const Token& t : reading.tokens) {
    if (!unknown_id || t.id != *unknown_id || t.special) continue;
    const std::string_view word =
        text.substr(static_cast<std::size_t>(t.begin), static_cast<std::size_t>(t.end - t.begin));
    if (!seen.insert(word).second || seen.size() > kNamed) continue;
    const std::vector<std::string> words = near(word);
    complaints.push_back(
        fmt::format("{} ({})", io::in_quotes(word),
                    words.empty() ? "nothing near it" : fmt::format("near: {}", fmt::join(words, ", "))));
  }
  if (complaints.empty()) return;
  throw Error(fmt::format("{} has {} not in the model's vocabulary: {}{}; use words that it knows", what,
                          complaints.size() == 1 ? "a word that is" : "words that are", fmt::join(complaints, ", "),
                          seen.size() > kNamed ? fmt::format(" and {} more", seen.size() - kNamed) : ""));
}

std::string Reader::written(std::span<const int> ids, std::vector<Token>& tokens) const {
  std::string text = tokenizer_.decode(ids);
  // Read again, the text gives the same ids with their places, as long as writing and reading are each other's inverse.
  const io::Encoding again = tokenizer_.encode(text, {}, false);
  std::size_t at = 0;
  for (const int id : ids) {
    Token t{static_cast<int>(tokens.size()), id, tokenizer_.piece_of(id), 0, 0, false};
    t.special = tokenizer_.decode(std::array{id}).empty();
    if (!t.special && at < again.ids.size() && again.ids[at] == id) {
      t.begin = static_cast<int>(again.offsets[at].begin), t.end = static_cast<int>(again.offsets[at].end);
      ++at;
    }
    tokens.push_back(std::move(t));
  }
  return text;
}

}  // namespace fovea::look
