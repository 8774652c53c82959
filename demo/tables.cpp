#include "demo/tables.hpp"

#include <fmt/format.h>

#include <fovea/error.hpp>

namespace fovea::demo {

std::vector<std::string_view> split_list(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  if (text.empty() || text == "-") return parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end == text.npos ? end : end - begin));
    if (end == text.npos) return parts;
    begin = end + 1;
  }
}

Row::Row(std::string_view line, std::string where) : where_(std::move(where)) {
  // Not split_list: a row of one field may be "-", which is a list of none.
  for (std::size_t begin = 0;;) {
    const std::size_t end = line.find('\t', begin);
    fields_.push_back(line.substr(begin, end == line.npos ? end : end - begin));
    if (end == line.npos) break;
    begin = end + 1;
  }
}

void Row::fail(std::string_view what) const { throw Error(fmt::format("demo lexicon, {}: {}", where_, what)); }

std::vector<Row> read_table(std::string_view text, const std::string& name, std::size_t least, std::size_t most) {
  std::vector<Row> rows;
  int number = 0;
  for (const std::string_view line : split_list(text, '\n')) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const Row& row = rows.emplace_back(line, fmt::format("{}.tsv, line {}", name, number));
    if (row.size() < least || row.size() > most)
      row.fail(
          fmt::format("{} fields where {} to {} are expected; fields are separated by tabs", row.size(), least, most));
    for (std::size_t i = 0; i < least; ++i)
      if (row[i].empty()) row.fail(fmt::format("field {} is empty", i + 1));
  }
  return rows;
}

}  // namespace fovea::demo
