#include "demo/inflection.hpp"

namespace fovea::demo {

std::string english_plural(std::string_view word) {
  const std::string base(word);
  if (word.ends_with("s") || word.ends_with("x") || word.ends_with("ch") || word.ends_with("sh")) return base + "es";
  const bool vowel_y =
      word.size() > 1 && std::string_view("aeiou").find(word[word.size() - 2]) != std::string_view::npos;
  if (word.ends_with("y") && !vowel_y) return base.substr(0, base.size() - 1) + "ies";
  return base + "s";
}

std::string french_plural(std::string_view word) {
  const std::string base(word);
  if (word.ends_with("s") || word.ends_with("x") || word.ends_with("z")) return base;
  if (word.ends_with("eau") || word.ends_with("yau")) return base + "x";
  if (word.ends_with("al")) return base.substr(0, base.size() - 2) + "aux";
  return base + "s";
}

}  // namespace fovea::demo
