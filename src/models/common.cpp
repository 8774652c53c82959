#include "models/common.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "io/quote.hpp"
#include "ops/tape.hpp"

namespace fovea::models {

Ends ends_of(std::span<const Sequence> sequences) {
  auto ends = std::make_shared<std::vector<int>>();
  for (const Sequence& s : sequences)
    ends->push_back((ends->empty() ? 0 : ends->back()) + static_cast<int>(s.ids.size()));
  return ends;
}

void keep_for_backward(const Ends& ends) {
  if (Tape* tape = Tape::current()) tape->keep(ends);
}

std::vector<int> packed_ids(std::span<const Sequence> sequences) {
  std::vector<int> ids;
  for (const Sequence& s : sequences) ids.insert(ids.end(), s.ids.begin(), s.ids.end());
  return ids;
}

std::vector<int> packed_positions(std::span<const Sequence> sequences) {
  std::vector<int> positions;
  for (const Sequence& s : sequences)
    for (int i = 0; i < static_cast<int>(s.ids.size()); ++i) positions.push_back(s.first_position + i);
  return positions;
}

void check_lengths(std::span<const Sequence> sequences, int positions) {
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& s = sequences[i];
    if (s.ids.empty()) throw Error(fmt::format("sequence {} has no tokens; expected at least one", i));
    if (std::ssize(s.ids) > positions) {
      throw Error(fmt::format(
          "sequence {} has {} tokens and the model has {} positions; shorten the text or let it be truncated", i,
          s.ids.size(), positions));
    }
    if (s.first_position < 0 || s.first_position > positions - std::ssize(s.ids)) {
      throw Error(fmt::format(
          "sequence {} has {} tokens and begins at position {}; expected 0 to {}: the model has {} positions", i,
          s.ids.size(), s.first_position, positions - std::ssize(s.ids), positions));
    }
  }
}

std::optional<Tensor> start_of(const Pass& pass, int layers, std::int64_t tokens, std::int64_t width) {
  if (pass.first_layer < 0 || pass.first_layer > layers)
    throw Error(fmt::format("first_layer is {}; expected 0 to {}, the model's layers", pass.first_layer, layers));
  if (!pass.start) {
    if (pass.first_layer > 0)
      throw Error(fmt::format("first_layer is {} and there is no start to begin it from", pass.first_layer));
    return std::nullopt;
  }
  if (pass.start->dtype() != DType::F32 || !(pass.start->shape() == Shape{tokens, width})) {
    throw Error(fmt::format("start is {}; expected F32 [{}, {}], the input of layer {}", pass.start->view().str(),
                            tokens, width, pass.first_layer));
  }
  return *pass.start;
}

void check_layers(const nn::Weights& layers, int promised, const char* key) {
  const int stored = layers.numbered();
  if (stored >= promised) return;
  throw Error(fmt::format("{}: config.json promises {} layers ({}) and the file holds {}; one of the two is wrong",
                          layers.where(), promised, key, stored));
}

void describe_weights(Summary& summary, const nn::Weights& weights,
                      const std::function<bool(std::string_view)>& expected) {
  const nn::Ledger& ledger = weights.ledger();
  summary.parameters = ledger.total();
  summary.weights_dtype = std::string(name_of(ledger.dtype()));
  if (!ledger.non_finite.empty()) {
    summary.warnings.push_back(
        fmt::format("{}: {} of {} tensors hold NaN or infinity, first \"{}\"; what they touch will not be numbers",
                    weights.where(), ledger.non_finite.size(), ledger.used.size(), *ledger.non_finite.begin()));
  }
  std::vector<std::string> left = weights.unused();
  std::erase_if(left, expected);
  if (left.empty()) return;
  constexpr std::size_t kShown = 3;
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(left.size(), kShown); ++i) shown.push_back(io::in_quotes(left[i]));
  summary.warnings.push_back(fmt::format("{}: {} tensors are no part of this model and were left out: {}{}",
                                         weights.where(), left.size(), fmt::join(shown, ", "),
                                         left.size() > kShown ? ", …" : ""));
}

void check_step(std::span<const int> ids, std::size_t rows, int written, int positions) {
  if (ids.size() != rows)
    throw Error(fmt::format("{} ids to write and {} rows; expected one id a row", ids.size(), rows));
  if (written >= positions)
    throw Error(
        fmt::format("the text that is written has {} tokens and the model has {} positions; ask for fewer (max_length)",
                    written, positions));
}

std::vector<int> selected_sources(const std::vector<int>& sources, std::span<const int> rows) {
  std::vector<int> selected;
  for (const int row : rows) {
    if (row < 0 || row >= static_cast<int>(sources.size()))
      throw Error(fmt::format("row {} is selected and there are {}", row, sources.size()));
    selected.push_back(sources[static_cast<std::size_t>(row)]);
  }
  if (!std::ranges::is_sorted(selected))
    throw Error("rows are selected whose sources change order; keep those of one source together");
  return selected;
}

}  // namespace fovea::models
