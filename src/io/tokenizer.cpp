#include "io/tokenizer.hpp"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "io/embedded.hpp"
#include "io/input_file.hpp"
#include "io/quote.hpp"
#include "io/tokenizer/fovea_tokenizer.h"

namespace fovea::io {
namespace {

// The largest published ones have 35 MB (vocabularies of 262,144).
constexpr std::int64_t kLargestFile = std::int64_t{256} << 20;
// Of a reason that names tokens or text of a file.
constexpr std::size_t kLongestReason = 400;

const FoveaTokenizer* raw(const std::shared_ptr<const void>& handle) {
  return static_cast<const FoveaTokenizer*>(handle.get());
}

/// Text that the Rust side made, given back to it at the end.
struct Text {
  FoveaText text{};
  Text() = default;
  explicit Text(FoveaText text) : text(text) {}
  Text(const Text&) = delete;
  ~Text() { fovea_text_free(text); }
  std::string_view view() const { return text.data ? std::string_view(text.data, text.size) : std::string_view(); }
};

/// `failed` says of which file what failed, `next` what to do about it.
void check(FoveaText status, const std::string& failed, std::string_view next) {
  const Text reason(status);
  if (reason.text.data) throw Error(fmt::format("{}: {}; {}", failed, escaped(reason.view(), kLongestReason), next));
}
constexpr std::string_view kOtherText = "give another text, or the tokenizer that the model was published with",
                           kOtherIds = "give ids that the tokenizer made";

/// Why there is nothing to load at `path`, and what to do about the vocabulary that lies there instead.
std::string absent(const std::filesystem::path& path) {
  std::error_code ignored;
  for (const char* other : {"vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"}) {
    if (!std::filesystem::exists(path.parent_path() / other, ignored)) continue;
    return fmt::format(
        "{}: no such file; the folder has only {}, which doesn't say how text is split: make a tokenizer.json with "
        "transformers (AutoTokenizer.from_pretrained(folder).save_pretrained(folder))",
        path.string(), other);
  }
  return fmt::format("{}: no such file; copy the tokenizer.json that the model was published with into the folder",
                     path.string());
}

}  // namespace

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  if (!is_there(path)) throw Error(absent(path));
  return from_json(read_text(InputFile::open(path), kLargestFile), path.string());
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& name) {
  FoveaTokenizer* made = nullptr;
  check(fovea_tokenizer_create(json.data(), json.size(), &made), name + ": cannot be read as a tokenizer",
        "copy the tokenizer.json that the model was published with, or save it anew (save_pretrained)");
  Tokenizer tokenizer;
  tokenizer.handle_ = std::shared_ptr<const void>(made, [made](const void*) { fovea_tokenizer_free(made); });
  tokenizer.file_ = name;
  return tokenizer;
}

std::string Tokenizer::learn(std::string_view lines, int vocabulary) {
  Text json;
  check(fovea_tokenizer_train(lines.data(), lines.size(), static_cast<std::size_t>(vocabulary), &json.text),
        "learning a tokenizer", "give texts in UTF-8, and a larger vocabulary");
  return std::string(json.view());
}

Encoding Tokenizer::encode(std::string_view text, std::string_view pair, bool special) const {
  FoveaEncoding e{};
  check(fovea_tokenizer_encode(raw(handle_), text.data(), text.size(), pair.empty() ? nullptr : pair.data(),
                               pair.size(), special, &e),
        "encoding with " + file_, kOtherText);
  const std::unique_ptr<FoveaEncoding, decltype(&fovea_encoding_free)> owner(&e, fovea_encoding_free);
  Encoding out;
  out.ids.assign(e.ids, e.ids + e.size);
  out.types.assign(e.types, e.types + e.size);
  out.special.assign(e.special, e.special + e.size);
  out.offsets.reserve(e.size);
  out.pieces.reserve(e.size);
  for (std::size_t i = 0, piece = 0; i < e.size; piece = e.piece_ends[i++]) {
    out.offsets.push_back({e.offsets[2 * i], e.offsets[2 * i + 1]});
    out.pieces.emplace_back(e.pieces + piece, e.piece_ends[i] - piece);
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int> ids, bool skip_special) const {
  if (const auto negative = std::ranges::find_if(ids, [](int id) { return id < 0; }); negative != ids.end())
    throw Error(fmt::format("decoding with {}: id {} is no token of the vocabulary", file_, *negative));
  const std::vector<std::uint32_t> unsigned_ids(ids.begin(), ids.end());
  Text text;
  check(fovea_tokenizer_decode(raw(handle_), unsigned_ids.data(), unsigned_ids.size(), skip_special, &text.text),
        "decoding with " + file_, kOtherIds);
  return std::string(text.view());
}

std::optional<int> Tokenizer::id_of(std::string_view piece) const {
  const std::int64_t id = fovea_tokenizer_id_of(raw(handle_), piece.data(), piece.size());
  return id < 0 ? std::nullopt : std::optional<int>(static_cast<int>(id));
}

std::string Tokenizer::piece_of(int id) const {
  if (id < 0) throw Error(fmt::format("{}: id {} is no token of the vocabulary", file_, id));
  Text piece;
  check(fovea_tokenizer_piece_of(raw(handle_), static_cast<std::uint32_t>(id), &piece.text), file_, kOtherIds);
  return std::string(piece.view());
}

int Tokenizer::vocabulary_size() const { return static_cast<int>(fovea_tokenizer_size(raw(handle_))); }
int Tokenizer::largest_id() const { return static_cast<int>(fovea_tokenizer_largest_id(raw(handle_))); }

}  // namespace fovea::io
