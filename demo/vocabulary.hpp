// The words of both languages by number. The numbers are the model's token ids.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fovea::demo {

using Word = std::uint16_t;
inline constexpr Word kPad = 0, kEnd = 1, kUnknown = 2;
inline constexpr Word kNoWord = 0xffff;

class Vocabulary {
 public:
  Vocabulary();
  /// The word's number; a new one where the text is new. One number serves both languages ("table", "a").
  Word add(std::string_view text);
  /// Its capitalised form becomes a word too.
  void add_capital(Word word);
  /// `word` turns into `elided` before a vowel; so do their capitalised forms, where there are any.
  void add_before_vowel(Word word, Word elided);

  Word id(std::string_view text) const;  ///< Error when it is no word
  const std::string& text(Word word) const { return texts_[word]; }
  int size() const { return static_cast<int>(texts_.size()); }
  Word capital(Word word) const;  ///< Error when the word never opens a sentence
  Word before_vowel(Word word) const { return before_vowel_[word] == kNoWord ? word : before_vowel_[word]; }
  bool begins_with_vowel(Word word) const { return vowel_[word]; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::vector<std::string> texts_;            // [words]
  std::vector<Word> capital_, before_vowel_;  // [words]: kNoWord where there is none
  std::vector<bool> vowel_;                   // [words]
  std::unordered_map<std::string, Word, Hash, std::equal_to<>> ids_;
};

/// With its first letter as a capital: ASCII, and the accented letters of Latin-1.
std::string capitalised(std::string_view text);

}  // namespace fovea::demo
