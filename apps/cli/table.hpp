// What a person reads on a terminal: widths, bars, colours, tables. Nothing here runs when --json is given.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fovea::cli {

/// stdout as it is now. Width: COLUMNS, else the terminal's own, else 80. Colour only on a terminal and without
/// NO_COLOR.
struct Terminal {
  bool interactive = false, colour = false;
  int width = 80;
};
const Terminal& terminal();

/// Control characters and broken UTF-8 become visible signs, so that no text can steer the terminal or break a line.
std::string printable(std::string_view text);
/// Columns that printable text takes on a terminal (wide East Asian characters take two, combining marks none).
int display_width(std::string_view text);
/// printable(text), cut to `width` columns with … where it is longer.
std::string fit(std::string_view text, int width);
/// printable(text) broken at spaces into lines of at most `width` columns; one word longer than that stays whole.
std::vector<std::string> wrap(std::string_view text, int width);
/// A bar of `cells` columns for a fraction of 0 to 1, drawn to an eighth of a column and padded with spaces.
std::string bar(double fraction, int cells);

enum class Ink { Plain, Bold, Dim, Accent, Warn };
/// The text in that ink where colours are on, else as it is.
std::string paint(Ink ink, std::string_view text);

std::string bytes_text(double bytes);             ///< "12.3 MB" (powers of 1000)
std::string count_text(std::int64_t n);           ///< "22,713,216"
std::string number_text(double x, int decimals);  ///< "–" for what is not a number
std::string seconds_text(double seconds);         ///< "1.23 ms": what was measured
std::string duration(double seconds);             ///< "42 s", "3 min 05 s", "1 h 02 min": what is expected

/// Rows under a heading, two spaces between columns. The one flexible column gives way where the terminal is too
/// narrow.
class Table {
 public:
  struct Column {
    std::string heading;
    bool right = false, flexible = false;
    Ink ink = Ink::Plain;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void row(std::vector<std::string> cells);
  /// Lines without line breaks, none wider than `width`.
  std::vector<std::string> lines(int width) const;
  void print() const;  ///< to stdout, as wide as the terminal

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;  // cells are printable
};

/// One paragraph to stdout, wrapped to the terminal; lines after the first are indented by `indent`.
void say(std::string_view paragraph, int indent = 0, Ink ink = Ink::Plain);

}  // namespace fovea::cli
