// How far one word is from another.
#pragma once
#include <string_view>

namespace fovea {

/// Edits of single bytes (insert, delete, replace, swap neighbours) that turn a into b (Damerau 1964, restricted).
int edit_distance(std::string_view a, std::string_view b);

}  // namespace fovea
