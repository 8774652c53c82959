#include "chart.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "table.hpp"

namespace fovea::cli {

// ---------------------------------------------------------------------------------------------------------------- axes

std::vector<double> Axis::ticks() const {
  std::vector<double> all;
  const auto first = static_cast<long long>(std::ceil(low / step - 1e-9)),
             last = static_cast<long long>(std::floor(high / step + 1e-9));
  for (long long i = first; i <= last; ++i) all.push_back(static_cast<double>(i) * step);
  return all;
}

std::string Axis::label(double tick) const {
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 9);
  return fmt::format("{:.{}f}", tick == 0 ? 0.0 : tick, decimals);  // never "-0"
}

Axis axis_of(const std::vector<double>& values, const std::optional<std::pair<double, double>>& range, int about) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const double v : values)
    if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
  if (range) std::tie(low, high) = *range;
  if (!(low <= high)) low = 0, high = 1;
  if (low == high) low -= 0.5, high += 0.5;
  const double raw = (high - low) / std::max(about, 1), power = std::pow(10, std::floor(std::log10(raw)));
  const double lead = raw / power;
  Axis axis{low, high, power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10)};
  if (!range) {
    axis.low = std::floor(low / axis.step + 1e-9) * axis.step;
    axis.high = std::ceil(high / axis.step - 1e-9) * axis.step;
  }
  return axis;
}

Axes axes_of(const Chart& chart, int about_x, int about_y) {
  std::vector<double> x, y, right;
  Axes axes;
  for (const Series& s : chart.series) {
    axes.has_right |= s.on_right;
    for (const auto& [at, value] : s.points) {
      if (!std::isfinite(at) || !std::isfinite(value)) continue;
      x.push_back(at);
      (s.on_right ? right : y).push_back(value);
    }
  }
  axes.x = axis_of(x, chart.x_range, about_x);
  axes.y = axis_of(y, chart.y_range, about_y);
  axes.right = axis_of(right, chart.right_range, about_y);
  return axes;
}

// ------------------------------------------------------------------------------------------------------------ terminal

namespace {

constexpr const char* kMarks[] = {"●", "▲", "■", "◆", "○", "△"};
constexpr Ink kInks[] = {Ink::Accent, Ink::Warn, Ink::Bold, Ink::Plain};

const char* mark_of(std::size_t series) { return kMarks[series % std::size(kMarks)]; }
Ink ink_of(std::size_t series) { return kInks[series % std::size(kInks)]; }

struct Cell {
  std::string text = " ";
  Ink ink = Ink::Plain;
};

/// The plot between its axes: rows of cells, the top one first.
class Canvas {
 public:
  Canvas(int columns, int rows)
      : columns_(columns), rows_(rows), cells_(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows)) {}
  int column(double x) const { return place(x, columns_); }
  int row(double y) const { return rows_ - 1 - place(y, rows_); }
  /// Outside of the plot nothing is drawn.
  void put(int column, int row, const std::string& text, Ink ink, bool over) {
    if (column < 0 || column >= columns_ || row < 0 || row >= rows_) return;
    Cell& c = cells_[static_cast<std::size_t>(row * columns_ + column)];
    if (over || c.text == " ") c = {text, ink};
  }
  std::string line(int row) const {
    std::string out;
    for (int c = 0; c < columns_; ++c) {
      const Cell& cell = cells_[static_cast<std::size_t>(row * columns_ + c)];
      out += cell.text == " " ? " " : paint(cell.ink, cell.text);
    }
    return out;
  }

 private:
  static int place(double part, int n) {
    return part < -1e-9 || part > 1 + 1e-9 ? -1 : static_cast<int>(std::lround(part * (n - 1)));
  }
  int columns_, rows_;
  std::vector<Cell> cells_;
};

std::vector<std::pair<double, double>> finite_points(const Series& s) {
  std::vector<std::pair<double, double>> points;
  std::ranges::copy_if(s.points, std::back_inserter(points),
                       [](const auto& p) { return std::isfinite(p.first) && std::isfinite(p.second); });
  return points;
}

/// A dot in every column between two points.
void draw_lines(Canvas& canvas, const Series& s, const Axes& axes, Ink ink, int columns) {
  const auto points = finite_points(s);
  const Axis& axis = s.on_right ? axes.right : axes.y;
  for (std::size_t i = 1; i < points.size(); ++i) {
    const auto [x0, y0] = points[i - 1];
    const auto [x1, y1] = points[i];
    for (int c = 0; c < columns; ++c) {
      const double x = axes.x.low + (axes.x.high - axes.x.low) * c / std::max(columns - 1, 1);
      if (x < x0 || x > x1 || x0 == x1) continue;
      canvas.put(c, canvas.row(axis.at(y0 + (y1 - y0) * (x - x0) / (x1 - x0))), "·", ink, false);
    }
  }
}

std::string padded_left(const std::string& text, int width) {
  return std::string(static_cast<std::size_t>(std::max(0, width - display_width(text))), ' ') + text;
}

/// The labels of an axis by row; empty where no tick stands.
std::vector<std::string> labels_by_row(const Axis& axis, const Canvas& canvas, int rows) {
  std::vector<std::string> labels(static_cast<std::size_t>(rows));
  for (const double tick : axis.ticks()) labels[static_cast<std::size_t>(canvas.row(axis.at(tick)))] = axis.label(tick);
  return labels;
}

int widest(const std::vector<std::string>& labels) {
  int most = 0;
  for (const std::string& l : labels) most = std::max(most, display_width(l));
  return most;
}

/// Tick labels below the plot, as many as have room.
std::string x_labels(const Axis& axis, const Canvas& canvas, int columns) {
  std::string line;
  for (const double tick : axis.ticks()) {
    const std::string text = axis.label(tick);
    const int length = display_width(text);
    const int begin = std::max(0, std::min(canvas.column(axis.at(tick)) - length / 2, columns - length));
    if (!line.empty() && begin <= static_cast<int>(line.size())) continue;
    line += std::string(static_cast<std::size_t>(begin) - line.size(), ' ') + text;
  }
  return line;
}

/// "● one   ▲ two", broken where the line is full.
std::vector<std::string> legend(const Chart& chart, int width) {
  std::vector<std::string> lines(1);
  int used = 0;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Series& s = chart.series[i];
    const std::string name = fit(s.name + (s.on_right ? " (right)" : ""), std::max(width - 4, 1));
    const int more = display_width(name) + 5;
    if (used > 0 && used + more > width) lines.emplace_back(), used = 0;
    lines.back() += paint(ink_of(i), mark_of(i)) + " " + name + "   ";
    used += more;
  }
  for (std::string& l : lines) l.erase(l.find_last_not_of(' ') + 1);
  return lines;
}

}  // namespace

std::vector<std::string> chart_lines(const Chart& chart, int width, int rows) {
  rows = std::max(rows, 2);
  const Axes axes = axes_of(chart, std::max(2, width / 12), std::max(2, rows / 3));
  const Canvas ruler(1, rows);
  const auto left = labels_by_row(axes.y, ruler, rows);
  const auto right = axes.has_right ? labels_by_row(axes.right, ruler, rows) : std::vector<std::string>(left.size());
  const int margin = widest(left), columns = std::max(8, width - margin - 4 - (axes.has_right ? widest(right) + 3 : 0));
  Canvas canvas(columns, rows);
  for (std::size_t i = 0; i < chart.series.size(); ++i)
    if (chart.series[i].style == Series::Style::Line) draw_lines(canvas, chart.series[i], axes, ink_of(i), columns);
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const Axis& axis = chart.series[i].on_right ? axes.right : axes.y;
    for (const auto& [x, y] : finite_points(chart.series[i]))
      canvas.put(canvas.column(axes.x.at(x)), canvas.row(axis.at(y)), mark_of(i), ink_of(i), true);
  }
  std::vector<std::string> lines;
  if (!chart.title.empty()) lines.push_back(paint(Ink::Bold, fit(chart.title, width)));
  std::string heading = chart.y_label;
  if (axes.has_right && !chart.right_label.empty()) heading += fmt::format("   (right: {})", chart.right_label);
  if (!heading.empty()) lines.push_back(paint(Ink::Dim, fit(heading, width)));
  for (int r = 0; r < rows; ++r) {
    const std::string &l = left[static_cast<std::size_t>(r)], &other = right[static_cast<std::size_t>(r)];
    std::string line = padded_left(l, margin) + (l.empty() ? " │ " : " ┤ ") + canvas.line(r);
    if (axes.has_right) line += (other.empty() ? " │ " : " ├ ") + other;
    lines.push_back(line);
  }
  const std::string indent(static_cast<std::size_t>(margin), ' ');
  std::string floor = indent + " └─";
  for (int c = 0; c < columns; ++c) floor += "─";
  lines.push_back(floor + (axes.has_right ? "─┘" : ""));
  lines.push_back(indent + "   " + x_labels(axes.x, canvas, columns));
  if (!chart.x_label.empty()) lines.push_back(indent + "   " + paint(Ink::Dim, fit(chart.x_label, columns)));
  for (const std::string& l : legend(chart, width - margin - 3)) lines.push_back(indent + "   " + l);
  for (std::string& l : lines) l.erase(l.find_last_not_of(' ') + 1);
  return lines;
}

void print_chart(const Chart& chart) {
  for (const std::string& line : chart_lines(chart, std::min(terminal().width, 100))) fmt::print("{}\n", line);
}

}  // namespace fovea::cli
