// From what a person types ("bank", "bank#2", "5") to positions in a run.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include <fovea/model.hpp>

namespace fovea::look {

/// Positions of the tokens that `selector` means; see Run::find. Words are those of the text, found through the tokens'
/// byte offsets, so that it doesn't matter how a tokenizer cuts or spells them.
/// `did`: what the model did with the text, for messages.
std::vector<int> find_tokens(std::string_view text, std::span<const Token> tokens, std::string_view selector,
                             const char* did = "read");

}  // namespace fovea::look
