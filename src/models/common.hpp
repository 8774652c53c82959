// What the families have in common: sequences packed along time, where a pass starts, what is said of a checkpoint.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/encoder.hpp"
#include "nn/weights.hpp"

namespace fovea::models {

using Ends = std::shared_ptr<const std::vector<int>>;

/// Where each sequence ends once they lie one after another.
Ends ends_of(std::span<const Sequence> sequences);
/// On a tape attention goes back long after a pass has returned: what it borrows stays.
void keep_for_backward(const Ends& ends);
/// All ids, and the position of each, one sequence after another.
std::vector<int> packed_ids(std::span<const Sequence> sequences);        // [tokens]
std::vector<int> packed_positions(std::span<const Sequence> sequences);  // [tokens]
/// Throws Error unless each has tokens, and no more than there are positions.
void check_lengths(std::span<const Sequence> sequences, int positions);

/// Where `pass` starts from in place of an embedding, [tokens, width]; nothing where it doesn't. Error when it doesn't
/// fit.
std::optional<Tensor> start_of(const Pass& pass, int layers, std::int64_t tokens, std::int64_t width);

/// Error when fewer layers are stored below this scope than config.json promises by `key`.
void check_layers(const nn::Weights& layers, int promised, const char* key);
/// Fills in what the ledger knows: parameters, dtype, warnings. `expected` names tensors that may be left over.
void describe_weights(Summary& summary, const nn::Weights& weights,
                      const std::function<bool(std::string_view)>& expected);

/// Of every Decoding: Error unless there is one id for each row and a position left.
void check_step(std::span<const int> ids, std::size_t rows, int written, int positions);
/// The sources [selected] of rows that are selected, from those [rows] there are. Error for a row that is not there, or
/// sources that change order.
std::vector<int> selected_sources(const std::vector<int>& sources, std::span<const int> rows);

}  // namespace fovea::models
