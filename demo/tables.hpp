// The files of lexicon/ and textbook.tsv, embedded by CMake, and how such a file is read.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fovea::demo {

namespace tables {
extern const std::string_view nouns, names, adjectives, transitive, intransitive, possessions, possession_verbs, scenes,
    senses, function_words, phrases, textbook;
}

/// A line of a table: fields between tabs. A field that is absent at the end of a line is empty.
class Row {
 public:
  Row(std::string_view line, std::string where);
  std::string_view operator[](std::size_t column) const { return column < fields_.size() ? fields_[column] : ""; }
  std::size_t size() const { return fields_.size(); }
  [[noreturn]] void fail(std::string_view what) const;

 private:
  std::vector<std::string_view> fields_;
  std::string where_;  // "nouns.tsv, line 12"
};

/// The rows of a table; lines that begin with # and empty lines are not among them. Error when a row has fewer than
/// `least` or more than `most` fields, or an empty one among the first `least`.
std::vector<Row> read_table(std::string_view text, const std::string& name, std::size_t least, std::size_t most);

/// The parts of "river,lake,sea"; none of "" and of "-".
std::vector<std::string_view> split_list(std::string_view text, char separator = ',');

}  // namespace fovea::demo
