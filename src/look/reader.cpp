#include "look/reader.hpp"

#include <array>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "io/embedded.hpp"
#include "io/json.hpp"
#include "io/quote.hpp"

namespace fovea::look {
namespace {

namespace fs = std::filesystem;

/// What is left of `size` tokens: the first `head`, and the last `tail`.
struct Kept {
  std::size_t head, tail;
};

/// Cuts at the end of the text: before the run of tokens that the tokenizer added behind it.
std::optional<Kept> kept_of(const std::vector<bool>& special, std::size_t positions) {
  std::size_t tail = 0;
  while (tail < special.size() && special[special.size() - 1 - tail]) ++tail;
  if (special.size() <= positions) return Kept{special.size() - tail, tail};
  if (tail >= positions) return std::nullopt;  // no room for any text
  return Kept{positions - tail, tail};
}

std::optional<std::string> mask_named_in(const fs::path& file) {
  if (!io::is_there(file)) return std::nullopt;
  const nlohmann::json config = io::read_json(file);
  const auto found = config.is_object() ? config.find("mask_token") : config.end();
  if (!config.is_object() || found == config.end()) return std::nullopt;
  // Either the token itself, or what is known about it.
  const nlohmann::json& token = found->is_object() && found->contains("content") ? found->at("content") : *found;
  return token.is_string() ? std::optional(token.get<std::string>()) : std::nullopt;
}

}  // namespace

Reader::Reader(const fs::path& folder) : folder_(folder), tokenizer_(io::Tokenizer::load(folder / "tokenizer.json")) {}

void Reader::fit(const models::Summary& model) {
  positions_ = model.positions;
  if (tokenizer_.largest_id() >= model.vocabulary) {
    throw Error(
        fmt::format("{}: has token ids up to {}, and the model's vocabulary has {}; the two do not belong together",
                    (folder_ / "tokenizer.json").string(), tokenizer_.largest_id(), model.vocabulary));
  }
}

Reading Reader::read(std::string_view text, std::string_view pair, TooLong too_long, std::string_view what) const {
  const io::Encoding encoding = tokenizer_.encode(text, pair);
  const std::size_t size = encoding.ids.size(), positions = static_cast<std::size_t>(positions_);
  const std::optional<Kept> kept = kept_of(encoding.special, positions);
  if (size > positions && (too_long == TooLong::Refuse || !kept)) {
    throw Error(fmt::format("{} has {} tokens and the model has {} positions; shorten it{}", what, size, positions_,
                            pair.empty() ? ", or let it be truncated" : ""));
  }
  Reading reading;
  reading.cut = static_cast<int>(size - kept->head - kept->tail);
  for (std::size_t i = 0; i < size; ++i) {
    if (i >= kept->head && i < size - kept->tail) continue;
    const auto [begin, end] = encoding.offsets[i];
    reading.sequence.ids.push_back(encoding.ids[i]);
    reading.sequence.types.push_back(encoding.types[i]);
    reading.tokens.push_back({static_cast<int>(reading.tokens.size()), encoding.ids[i], encoding.pieces[i],
                              static_cast<int>(begin), static_cast<int>(end), encoding.special[i]});
  }
  return reading;
}

std::string Reader::spelled(int id) const {
  try {
    return tokenizer_.decode(std::array{id}, false);
  } catch (const Error&) {  // models round their vocabulary up
    return "";
  }
}

std::string Reader::piece(int id) const {
  try {
    return tokenizer_.piece_of(id);
  } catch (const Error&) {  // as above
    return "";
  }
}

int Reader::word(std::string_view text) const {
  if (const std::optional<int> id = tokenizer_.id_of(text)) return *id;
  const std::vector<std::string> pieces = tokenizer_.encode(text, {}, false).pieces;
  if (pieces.size() == 1 && pieces.front() != "[UNK]" && pieces.front() != "<unk>")
    return *tokenizer_.id_of(pieces.front());
  throw Error(fmt::format("{} is no single token of this model, which reads {}; choose a word that is one",
                          io::in_quotes(text), pieces.empty() ? "nothing" : fmt::format("{}", fmt::join(pieces, " "))));
}

MaskToken Reader::mask() const {
  for (const char* name : {"special_tokens_map.json", "tokenizer_config.json"}) {
    const std::optional<std::string> token = mask_named_in(folder_ / name);
    if (!token) continue;
    if (const std::optional<int> id = tokenizer_.id_of(*token)) return {*token, *id};
    throw Error(fmt::format("{}: mask_token is {}, which tokenizer.json doesn't have", (folder_ / name).string(),
                            io::in_quotes(*token)));
  }
  for (const char* token : {"[MASK]", "<mask>"})
    if (const std::optional<int> id = tokenizer_.id_of(token)) return {token, *id};
  throw Error(fmt::format(
      "{}: names no mask_token, so there is nothing to fill in; use a model trained with masks (BERT and its kin)",
      folder_.string()));
}

}  // namespace fovea::look
