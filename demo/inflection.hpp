// Regular plurals and feminines; a table gives what is irregular.
#pragma once
#include <string>
#include <string_view>

namespace fovea::demo {

std::string english_plural(std::string_view singular);
/// Of nouns and adjectives.
std::string french_plural(std::string_view singular);

}  // namespace fovea::demo
