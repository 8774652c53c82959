// From text to what a model reads: token ids, with the spans of text that they stand for.
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fovea/model.hpp>

#include "io/tokenizer.hpp"
#include "models/encoder.hpp"

namespace fovea::look {

struct Reading {
  models::Sequence sequence;
  std::vector<Token> tokens;
  int cut = 0;  // tokens left out at the end of the text
};

enum class TooLong { Refuse, Cut };

/// The token that stands for a hidden word.
struct MaskToken {
  std::string text;
  int id = 0;
};

/// A folder's tokenizer, and the length that the model beside it can take.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& folder);
  /// From now on for this model. Error when the tokenizer has ids that the model doesn't.
  void fit(const models::Summary& model);

  /// The text, and a second one unless `pair` is empty, with what the model expects around them. Where that is more
  /// than the model has positions: Error with both counts, or tokens are left out from the end and what was added
  /// stays, as transformers cuts one text. `what` names the text in messages.
  Reading read(std::string_view text, std::string_view pair, TooLong too_long, std::string_view what) const;
  /// Error when the text that was read, which `what` names, has words that the vocabulary lacks, naming each and up to
  /// five that are near it.
  void refuse_unknown(std::string_view text, const Reading& reading, std::string_view what) const;
  /// Ids as text, without special tokens; `tokens` receives one for each id, with its place in that text where it can
  /// be told.
  std::string written(std::span<const int> ids, std::vector<Token>& tokens) const;
  /// A token as text; empty for an id that the model has and the tokenizer doesn't.
  std::string spelled(int id) const;
  /// A token in its own spelling; empty as above.
  std::string piece(int id) const;
  /// The one token of a word. Error when it takes several, naming them, or when the vocabulary doesn't have it.
  int word(std::string_view text) const;
  /// As special_tokens_map.json or tokenizer_config.json names it, else [MASK] or <mask> where the tokenizer has one.
  MaskToken mask() const;

 private:
  std::optional<int> unknown() const;
  std::vector<std::string> near(std::string_view word) const;
  std::filesystem::path folder_;
  io::Tokenizer tokenizer_;
  int positions_ = 0;
};

}  // namespace fovea::look
