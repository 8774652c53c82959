#include "look/words.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "io/quote.hpp"

namespace fovea::look {
namespace {

constexpr char32_t kNoLetter = 0xfffd;  // U+FFFD: what isn't UTF-8
struct Letter {
  char32_t code;
  int begin, end;
};  // bytes [begin, end) of the text

/// UTF-8, leniently: a byte that starts no valid sequence is a letter by itself.
std::vector<Letter> letters_of(std::string_view text) {
  std::vector<Letter> letters;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned char lead = byte(i);
    const std::size_t length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    bool valid = length > 0 && i + length <= text.size();
    for (std::size_t k = 1; valid && k < length; ++k) valid = byte(i + k) >> 6 == 2;
    const std::size_t used = valid ? length : 1;
    char32_t code = !valid ? kNoLetter : length == 1 ? lead : lead & (0x7fu >> length);
    for (std::size_t k = 1; k < used; ++k) code = code << 6 | (byte(i + k) & 0x3fu);
    letters.push_back({code, static_cast<int>(i), static_cast<int>(i + used)});
    i += used;
  }
  return letters;
}

constexpr bool between(char32_t c, char32_t low, char32_t high) { return low <= c && c <= high; }

/// Scripts written without spaces: each character is taken as a word of its own (ideographs, kana).
bool stands_alone(char32_t c) {
  return between(c, 0x3040, 0x30ff) || between(c, 0x3400, 0x9fff) || between(c, 0xf900, 0xfaff) ||
         between(c, 0x20000, 0x3ffff);
}
bool in_word(char32_t c) {
  if (c < 0x80) return between(c, '0', '9') || between(c, 'A', 'Z') || between(c, 'a', 'z') || c == '_';
  const bool punctuation = between(c, 0x80, 0xa9) || between(c, 0xab, 0xb4) || between(c, 0xb6, 0xb9) ||
                           between(c, 0xbb, 0xbf) || c == 0xd7 || c == 0xf7 || between(c, 0x2000, 0x206f) ||
                           between(c, 0x20a0, 0x20cf) || between(c, 0x2190, 0x2bff) || between(c, 0x3000, 0x303f) ||
                           between(c, 0xff00, 0xff0f) || between(c, 0xff1a, 0xff20) || c == kNoLetter;
  return !punctuation;
}
bool joined(char32_t a, char32_t b) { return in_word(a) && in_word(b) && !stands_alone(a) && !stands_alone(b); }

/// Lower case of the alphabets whose cases lie at a fixed distance: Latin, Greek, Cyrillic.
char32_t lower(char32_t c) {
  if (between(c, 'A', 'Z') || (between(c, 0xc0, 0xde) && c != 0xd7) || between(c, 0x391, 0x3ab) ||
      between(c, 0x410, 0x42f))
    return c + 32;
  if (between(c, 0x400, 0x40f)) return c + 80;
  if (between(c, 0x100, 0x137) || between(c, 0x14a, 0x177)) return c | 1;
  return c;
}

/// Tokens that share a byte with [begin, end); none where the model didn't read that far.
std::vector<int> covering(std::span<const Token> tokens, int begin, int end) {
  std::vector<int> found;
  for (const Token& t : tokens)
    if (t.begin < end && begin < t.end) found.push_back(t.index);
  return found;
}

enum class Case { Exact, Folded };

class Text {
 public:
  Text(std::string_view text, std::span<const Token> tokens)
      : text_(text), letters_(letters_of(text)), tokens_(tokens) {}

  /// Where `word` stands whole in the text, each as the positions of its tokens.
  std::vector<std::vector<int>> occurrences(std::string_view word, Case how) const {
    const std::vector<Letter> wanted = letters_of(word);
    const auto same = [&](const Letter& a, const Letter& b) {
      return how == Case::Exact ? a.code == b.code : lower(a.code) == lower(b.code);
    };
    std::vector<std::vector<int>> found;
    auto at = letters_.begin();
    while (!wanted.empty()) {
      at = std::search(at, letters_.end(), wanted.begin(), wanted.end(), same);
      if (at == letters_.end()) break;
      const auto past = at + static_cast<std::ptrdiff_t>(wanted.size());
      const bool starts = at == letters_.begin() || !joined((at - 1)->code, at->code);
      const bool ends = past == letters_.end() || !joined((past - 1)->code, past->code);
      if (starts && ends)
        if (auto positions = covering(tokens_, at->begin, (past - 1)->end); !positions.empty())
          found.push_back(positions);
      ++at;
    }
    return found;
  }

  /// The words that the model read, each once, in order.
  std::vector<std::string_view> words() const {
    std::vector<std::string_view> all;
    for (std::size_t i = 0; i < letters_.size();) {
      std::size_t end = i + 1;
      while (end < letters_.size() && joined(letters_[end - 1].code, letters_[end].code)) ++end;
      const int from = letters_[i].begin, to = letters_[end - 1].end;
      const std::string_view word = text_.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from));
      if (in_word(letters_[i].code) && std::ranges::find(all, word) == all.end() &&
          !covering(tokens_, from, to).empty())
        all.push_back(word);
      i = end;
    }
    return all;
  }

 private:
  std::string_view text_;
  std::vector<Letter> letters_;
  std::span<const Token> tokens_;
};

std::optional<std::int64_t> number(std::string_view digits) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  const bool plain = !digits.empty() && digits.front() != '-' && end == digits.data() + digits.size();
  return plain && error == std::errc() ? std::optional(n) : std::nullopt;
}

std::vector<std::vector<int>> all_occurrences(const Text& text, std::span<const Token> tokens, std::string_view word) {
  auto found = text.occurrences(word, Case::Exact);
  if (found.empty()) found = text.occurrences(word, Case::Folded);
  if (found.empty())
    for (const Token& t : tokens)  // what the tokenizer added ("[CLS]"), or a piece in its own spelling ("##ing")
      if (t.text == word) found.push_back({t.index});
  return found;
}

[[noreturn]] void refuse_absent(const Text& text, std::size_t tokens, std::string_view selector, const char* did) {
  constexpr std::size_t kShown = 12;
  std::vector<std::string_view> words = text.words();
  const std::size_t more = words.size() > kShown ? words.size() - kShown : 0;
  words.resize(words.size() - more);
  throw Error(
      fmt::format("{} is not among the words that the model {}: {}{}; give one of them, or a position from 0 to {}",
                  io::in_quotes(selector), did, fmt::join(words, ", "), more ? fmt::format(", … ({} more)", more) : "",
                  tokens - 1));
}

[[noreturn]] void refuse_ambiguous(const std::vector<std::vector<int>>& found, std::string_view word) {
  constexpr std::size_t kShown = 8;
  std::string choices;
  for (std::size_t i = 0; i < std::min(found.size(), kShown); ++i)
    choices += fmt::format("{}{}#{} (position {})", i ? ", " : "", io::escaped(word), i + 1, found[i].front());
  throw Error(fmt::format("{} is there {} times; choose {}{}", io::in_quotes(word), found.size(), choices,
                          found.size() > kShown ? ", …" : ""));
}

}  // namespace

std::vector<int> find_tokens(std::string_view text_bytes, std::span<const Token> tokens, std::string_view selector,
                             const char* did) {
  const Text text(text_bytes, tokens);
  const auto index = number(selector);
  if (index && *index < static_cast<std::int64_t>(tokens.size())) return {static_cast<int>(*index)};

  const std::size_t hash = selector.rfind('#');
  const auto which = hash == std::string_view::npos || hash == 0 ? std::nullopt : number(selector.substr(hash + 1));
  const std::string_view word = which ? selector.substr(0, hash) : selector;
  const auto found = all_occurrences(text, tokens, word);
  if (found.empty()) refuse_absent(text, tokens.size(), selector, did);
  if (which && (*which < 1 || *which > static_cast<std::int64_t>(found.size())))
    throw Error(fmt::format("{}: {} is there {} {}; count from #1", io::in_quotes(selector), io::in_quotes(word),
                            found.size(), found.size() == 1 ? "time" : "times"));
  if (!which && found.size() > 1) refuse_ambiguous(found, word);
  return found[which ? static_cast<std::size_t>(*which - 1) : 0];
}

}  // namespace fovea::look
