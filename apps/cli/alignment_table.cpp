#include "alignment_table.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "table.hpp"

namespace fovea::cli {

Json alignment_json(std::span<const Aligned> alignment) {
  Json json = Json::array();
  for (std::size_t i = 0; i < alignment.size(); ++i)
    json.push_back({{"target", i}, {"source", alignment[i].source}, {"weight", alignment[i].weight}});
  return json;
}

void print_alignment(const std::vector<Token>& source, const std::vector<Token>& written,
                     std::span<const Aligned> alignment, std::size_t most) {
  constexpr int kBar = 12;
  Table table({{"written", false, false, Ink::Bold},
               {"looking at"},
               {"#", true, false, Ink::Dim},
               {"weight", true},
               {"", false, false, Ink::Accent}});
  std::size_t rows = 0;
  for (std::size_t i = 0; i < alignment.size(); ++i) {
    const Aligned& a = alignment[i];
    if (written[i].special || ++rows > most) continue;
    table.row({written[i].text, source[static_cast<std::size_t>(a.source)].text, std::to_string(a.source),
               fmt::format("{:.3f}", a.weight), bar(a.weight, kBar)});
  }
  table.print();
  if (rows > most) say(fmt::format("… {} more; --json has them all", rows - most), 2, Ink::Dim);
  fmt::print("\n");
}

}  // namespace fovea::cli
