#include "io/tokenizer.hpp"

#include <cstdint>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include <fovea/error.hpp>

#include "io/tokenizer/fovea_tokenizer.h"

namespace fovea::io {
namespace {

const FoveaTokenizer* raw(const std::shared_ptr<const void>& handle) { return static_cast<const FoveaTokenizer*>(handle.get()); }

/// The text of a result, and its memory given back.
std::string take(FoveaText text) {
  std::string s(text.data ? text.data : "", text.data ? text.size : 0);
  fovea_text_free(text);
  return s;
}

void check(FoveaText reason, const std::string& file) {
  if (reason.data) throw Error(fmt::format("{}: {}", file, take(reason)));
}

}  // namespace

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    throw Error(fmt::format("{}: no such file; a model folder needs its tokenizer.json (vocab.txt alone is not read: save it with "
                            "transformers' AutoTokenizer.save_pretrained)",
                            path.string()));
  }
  const std::string json{std::istreambuf_iterator<char>(in), {}};
  FoveaTokenizer* made = nullptr;
  check(fovea_tokenizer_create(json.data(), json.size(), &made), path.string());
  Tokenizer t;
  t.handle_ = std::shared_ptr<const void>(made, [made](const void*) { fovea_tokenizer_free(made); });
  t.file_ = path.string();
  return t;
}

Encoding Tokenizer::encode(std::string_view text, std::string_view pair, bool special) const {
  FoveaEncoding e{};
  check(fovea_tokenizer_encode(raw(handle_), text.data() ? text.data() : "", text.size(), pair.empty() ? nullptr : pair.data(), pair.size(),
                               special, &e),
        file_);
  const std::shared_ptr<FoveaEncoding> owner(&e, fovea_encoding_free);
  Encoding out;
  std::size_t piece = 0;
  for (std::size_t i = 0; i < e.size; ++i) {
    out.ids.push_back(static_cast<int>(e.ids[i]));
    out.types.push_back(static_cast<int>(e.types[i]));
    out.offsets.push_back({e.offsets[2 * i], e.offsets[2 * i + 1]});
    out.special.push_back(e.special[i] != 0);
    out.pieces.emplace_back(e.pieces + piece, e.piece_ends[i] - piece);
    piece = e.piece_ends[i];
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int> ids, bool skip_special) const {
  const std::vector<std::uint32_t> wide(ids.begin(), ids.end());
  FoveaText text{};
  check(fovea_tokenizer_decode(raw(handle_), wide.data(), wide.size(), skip_special, &text), file_);
  return take(text);
}

std::optional<int> Tokenizer::id_of(std::string_view piece) const {
  const std::int64_t id = fovea_tokenizer_id_of(raw(handle_), piece.data(), piece.size());
  return id < 0 ? std::nullopt : std::optional<int>(static_cast<int>(id));
}

std::string Tokenizer::piece_of(int id) const {
  FoveaText piece{};
  check(fovea_tokenizer_piece_of(raw(handle_), static_cast<std::uint32_t>(id), &piece), file_);
  return take(piece);
}

int Tokenizer::vocabulary_size() const { return static_cast<int>(fovea_tokenizer_size(raw(handle_))); }
int Tokenizer::largest_id() const { return static_cast<int>(fovea_tokenizer_largest_id(raw(handle_))); }

}  // namespace fovea::io
