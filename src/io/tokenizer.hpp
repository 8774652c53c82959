// Text to token ids and back, as a folder's tokenizer.json says. Hugging Face's own tokenizers do the work
// (src/io/tokenizer).
#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::io {

/// Bytes [begin, end) of the text that was encoded; 0, 0 for what the tokenizer added.
struct Span {
  std::size_t begin = 0, end = 0;
};

struct Encoding {
  std::vector<int> ids, types;  // [tokens]; types are 0, and 1 for the pair in models that tell the two apart
  std::vector<Span> offsets;    // [tokens]: into the text, or into the pair
  std::vector<bool> special;    // [tokens]: put there by the tokenizer; false for a "[MASK]" that stands in the text
  std::vector<std::string> pieces;  // [tokens]: as in the vocabulary, "##ing"
};

/// Immutable after load: any number of threads may encode at once. Truncation and padding sections of tokenizer.json
/// are ignored, as transformers ignores them.
class Tokenizer {
 public:
  /// `path` is a tokenizer.json. Throws Error naming the file and what is wrong with it: among others ids or tokens
  /// that stand twice, merges of what is no token, tokens over 4,096 bytes, added tokens whose id the vocabulary's
  /// order doesn't give them.
  static Tokenizer load(const std::filesystem::path& path);
  /// The same of a tokenizer.json in memory; `name` stands for its path in messages.
  static Tokenizer from_json(std::string_view json, const std::string& name);
  /// A tokenizer.json of at most `vocabulary` tokens, learnt from texts (one a line): byte-pair encoding within words
  /// (Sennrich et al. 2016). Tokens 0, 1 and 2 are <pad>, </s>, which ends each text, and <unk>. The same texts give
  /// the same file. Error when a text isn't UTF-8 or the vocabulary has no room for their characters.
  static std::string learn(std::string_view lines, int vocabulary);
  /// An empty `pair` is none. `special`: add what the model expects around a text ([CLS] … [SEP]). Error when a text
  /// isn't UTF-8.
  Encoding encode(std::string_view text, std::string_view pair = {}, bool special = true) const;
  /// Error for an id that is no token.
  std::string decode(std::span<const int> ids, bool skip_special = true) const;
  std::optional<int> id_of(std::string_view piece) const;
  std::string piece_of(int id) const;  ///< Error when it is no token
  int vocabulary_size() const;         ///< tokens, added ones included
  int largest_id() const;              ///< −1 for an empty vocabulary

 private:
  Tokenizer() = default;
  std::shared_ptr<const void> handle_;
  std::string file_;
};

}  // namespace fovea::io
