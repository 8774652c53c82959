#include "table.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include <fmt/format.h>

#include "core/utf8.hpp"

namespace fovea::cli {
namespace {

int wanted_width() {
  if (const char* columns = std::getenv("COLUMNS"); columns && *columns) {
    const long n = std::strtol(columns, nullptr, 10);
    if (n > 0) return static_cast<int>(std::min(n, 1000L));
  }
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

/// wcwidth of C.UTF-8, whatever the user's locale: the output is UTF-8 in every one.
int width_of(char32_t c) {
  static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (!utf8) return 1;
  const locale_t before = uselocale(utf8);
  const int width = wcwidth(static_cast<wchar_t>(c));
  uselocale(before);
  return width < 0 ? 1 : width;
}

}  // namespace

const Terminal& terminal() {
  static const Terminal found = [] {
    Terminal t;
    t.interactive = isatty(STDOUT_FILENO) == 1;
    const char *no_color = std::getenv("NO_COLOR"), *term = std::getenv("TERM");
    t.colour = t.interactive && !(no_color && *no_color) && !(term && std::string_view(term) == "dumb");
    t.width = std::max(40, wanted_width());
    return t;
  }();
  return found;
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    char32_t c = next_code_point(text);
    if (c < 0x20) c += 0x2400;  // the control pictures block: ␀ ␁ … ␊
    if (c == 0x7f) c = 0x2421;
    // C1 controls, and marks that reorder what stands around them, steer a terminal as well as ESC does.
    if ((c >= 0x80 && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069)) c = kReplacement;
    append_code_point(out, c);
  }
  return out;
}

int display_width(std::string_view text) {
  int width = 0;
  while (!text.empty()) width += width_of(next_code_point(text));
  return width;
}

std::string fit(std::string_view text, int width) {
  std::string whole = printable(text);
  if (display_width(whole) <= width) return whole;
  std::string cut;
  int used = 0;
  for (std::string_view rest = whole; !rest.empty();) {
    const char32_t c = next_code_point(rest);
    if (used + width_of(c) > width - 1) break;
    used += width_of(c);
    append_code_point(cut, c);
  }
  return width < 1 ? "" : cut + "…";
}

std::vector<std::string> wrap(std::string_view text, int width) {
  std::vector<std::string> lines(1);
  const std::string clean = printable(text);
  for (std::size_t at = 0; at < clean.size();) {
    const std::size_t end = std::min(clean.find(' ', at), clean.size());
    const std::string word = clean.substr(at, end - at);
    if (!lines.back().empty() && display_width(lines.back()) + 1 + display_width(word) > width) lines.emplace_back();
    if (!lines.back().empty()) lines.back() += ' ';
    lines.back() += word;
    at = end + 1;
  }
  return lines;
}

std::string bar(double fraction, int cells) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double clamped = std::isfinite(fraction) ? std::clamp(fraction, 0.0, 1.0) : 0.0;
  const int eighths = static_cast<int>(std::lround(clamped * cells * 8));
  std::string out;
  for (int i = 0; i < eighths / 8; ++i) out += "█";
  out += kEighths[eighths % 8];
  out.append(static_cast<std::size_t>(cells - (eighths + 7) / 8), ' ');
  return out;
}

std::string paint(Ink ink, std::string_view text) {
  if (!terminal().colour || ink == Ink::Plain) return std::string(text);
  const char* code = ink == Ink::Bold ? "1" : ink == Ink::Dim ? "2" : ink == Ink::Accent ? "36" : "33";
  return fmt::format("\033[{}m{}\033[0m", code, text);
}

std::string bytes_text(double bytes) {
  static constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
  int unit = 0;
  while (bytes >= 999.95 && unit < 5) bytes /= 1000, ++unit;
  return unit == 0 ? fmt::format("{:.0f} {}", bytes, kUnits[0]) : fmt::format("{:.1f} {}", bytes, kUnits[unit]);
}

std::string count_text(std::int64_t n) {
  std::string digits = std::to_string(n);
  for (int at = static_cast<int>(digits.size()) - 3; at > (n < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string number_text(double x, int decimals) { return std::isnan(x) ? "–" : fmt::format("{:.{}f}", x, decimals); }

std::string seconds_text(double seconds) {
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.2f} ms", seconds * 1e3);
  return fmt::format("{:.2f} µs", seconds * 1e6);
}

std::string duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole == 0 && seconds > 0) return "less than a second";
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

void Table::row(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) cell = printable(cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::string> Table::lines(int width) const {
  constexpr int kIndent = 2, kGap = 2;
  std::vector<int> widths;
  int total = kIndent - kGap;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    int widest = display_width(columns_[c].heading);
    for (const auto& row : rows_) widest = std::max(widest, display_width(row[c]));
    widths.push_back(widest);
    total += widest + kGap;
  }
  // What is too much comes off the flexible column, then off the widest ones, never off a line's end.
  for (std::size_t c = 0; c < columns_.size() && total > width; ++c)
    if (columns_[c].flexible) {
      const int less = std::min(total - width, std::max(0, widths[c] - 6));
      widths[c] -= less, total -= less;
    }
  while (total > width) {
    int& widest = *std::max_element(widths.begin(), widths.end());
    if (widest <= 1) break;
    --widest, --total;
  }
  const auto line = [&](const auto& cell_of, bool heading) {
    std::vector<std::string> cells;
    for (std::size_t c = 0; c < columns_.size(); ++c) cells.push_back(fit(cell_of(c), widths[c]));
    // Nothing trails a line, coloured or not: it ends with the last cell that shows something.
    const auto trim = [](std::string& cell) { cell.erase(cell.find_last_not_of(' ') + 1); };
    while (!cells.empty() && (trim(cells.back()), cells.back().empty())) cells.pop_back();
    std::string text(kIndent, ' ');
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string pad(static_cast<std::size_t>(widths[c] - display_width(cells[c])), ' ');
      const std::string shown = paint(heading ? Ink::Dim : columns_[c].ink, cells[c]);
      const bool last = c + 1 == cells.size();
      text += columns_[c].right ? pad + shown : last ? shown : shown + pad;
      if (!last) text.append(kGap, ' ');
    }
    return text;
  };
  std::vector<std::string> out{line([&](std::size_t c) { return columns_[c].heading; }, true)};
  for (const auto& row : rows_) out.push_back(line([&](std::size_t c) { return row[c]; }, false));
  return out;
}

void Table::print() const {
  for (const std::string& text : lines(terminal().width)) fmt::print("{}\n", text);
}

void say(std::string_view paragraph, int indent, Ink ink) {
  std::size_t margin = 0;
  for (const std::string& text : wrap(paragraph, terminal().width - indent)) {
    fmt::print("{}{}\n", std::string(margin, ' '), paint(ink, text));
    margin = static_cast<std::size_t>(indent);
  }
}

}  // namespace fovea::cli
