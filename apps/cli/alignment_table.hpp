// The path through a model's attention to its source: what each written word looked at.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include <fovea/model.hpp>

#include "command.hpp"

namespace fovea::cli {

/// [{"target","source","weight"}], one for each written token.
Json alignment_json(std::span<const Aligned> alignment);
/// A table: down the words that were written, beside them the source words in the order in which they were needed. Of
/// more than `most` rows the first, and how many there are.
void print_alignment(const std::vector<Token>& source, const std::vector<Token>& written,
                     std::span<const Aligned> alignment, std::size_t most);

}  // namespace fovea::cli
