#include "look/original.hpp"

#include <algorithm>

#include "look/words.hpp"

namespace fovea::look {

int Original::heads() const {
  std::int64_t most = 0;
  for (const models::LayerRecord* r : records) most = std::max(most, r->q.shape()[2]);
  return static_cast<int>(most);
}

int Original::group() const { return static_cast<int>(records.front()->q.shape()[2] / records.front()->v.shape()[2]); }

std::span<const Token> Original::queries() const { return queries_are_written() ? writing->tokens : tokens; }

std::span<const Token> Original::keys() const { return keys_are_written() ? writing->inputs : tokens; }

std::vector<int> Original::find_query(std::string_view text, std::string_view selector) const {
  if (queries_are_written()) return find_tokens(writing->text, writing->tokens, selector, "wrote");
  return find_tokens(text, tokens, selector);
}

std::vector<int> Original::find_key(std::string_view text, std::string_view selector) const {
  if (keys_are_written()) return find_tokens(writing->text, writing->inputs, selector, "wrote");
  return find_tokens(text, tokens, selector);
}

std::vector<bool> special_among(std::span<const Token> tokens) {
  std::vector<bool> special;
  for (const Token& t : tokens) special.push_back(t.special);
  return special;
}

}  // namespace fovea::look
