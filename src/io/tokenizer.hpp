// Text to token ids and back, as a folder's tokenizer.json says. Hugging Face's own tokenizers do the work (src/io/tokenizer).
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

struct Encoding {  // all of one length, one entry per token
  std::vector<int> ids, types;
  std::vector<Span> offsets;        // into the text, or into the pair where types say so
  std::vector<bool> special;        // added by the tokenizer
  std::vector<std::string> pieces;  // as in the vocabulary
};

/// Immutable after load: any number of threads may encode at once. Truncation and padding sections of tokenizer.json are ignored,
/// as transformers ignores them.
class Tokenizer {
 public:
  /// `path` is a tokenizer.json. Throws Error naming the file and what is wrong with it.
  static Tokenizer load(const std::filesystem::path& path);
  /// `special`: add what the model expects around a text ([CLS] … [SEP]).
  Encoding encode(std::string_view text, std::string_view pair = {}, bool special = true) const;
  std::string decode(std::span<const int> ids, bool skip_special = true) const;
  std::optional<int> id_of(std::string_view piece) const;
  std::string piece_of(int id) const;
  int vocabulary_size() const;  ///< tokens, added ones included
  int largest_id() const;       ///< −1 for an empty vocabulary

 private:
  std::shared_ptr<const void> handle_;
  std::string file_;
};

}  // namespace fovea::io
