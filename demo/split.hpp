// Which combinations are held out: training never shows them, evaluation asks for them.
#pragma once
#include <array>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "demo/lexicon.hpp"

namespace fovea::demo {

/// What is combined. In each, both sides are named by their English word (a noun's singular).
enum class Family : unsigned char {
  Adjective,   // noun, adjective: "animal", "tired"
  Context,     // word with two senses, noun or adjective that decides: "bank", "river"
  Possession,  // owner, what it owns: "cat", "legs"
  Object,      // subject, object; a thing and what it didn't fit in: "animal", "street"
};
inline constexpr int kFamilies = 4;
std::string_view name_of(Family family);

/// A sixth of the combinations by a hash of their words, and those of the textbook sentences. Never so many of one word
/// that it would be rare in training: of n combinations of a word at most n / 3 are held out (one of two, none of one).
class Split {
 public:
  explicit Split(const Lexicon& lexicon);
  bool held_out(Family family, Word a, Word b) const;
  /// All that the grammar can combine, and whether it is held out.
  struct Combination {
    Word a, b;
    bool held_out;
  };
  std::span<const Combination> combinations(Family family) const { return all_[static_cast<std::size_t>(family)]; }

 private:
  void add(Family family, Word a, Word b);
  void choose(Family family);
  const Lexicon& lexicon_;
  std::size_t words_;
  std::array<std::vector<bool>, kFamilies> known_, held_;  // [words, words]
  std::array<std::vector<Combination>, kFamilies> all_;
};

/// The split of the one lexicon.
const Split& the_split();

/// Which adjectives a noun takes: with it ("a red apple"), and after "was".
unsigned attributes_of(const Noun& noun);
unsigned predicates_of(const Noun& noun);
/// The adjectives that only its class has, and so decide what "it" is; 0 where there are none.
unsigned decisive_of(const Noun& noun);

}  // namespace fovea::demo
