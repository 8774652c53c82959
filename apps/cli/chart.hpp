// One chart of a few series, twice: in characters for a terminal, and as an SVG file.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fovea::cli {

struct Series {
  enum class Style { Line, Dots };
  std::string name;
  std::vector<std::pair<double, double>> points;  // (x, y), by ascending x for a line; what is not finite is left out
  Style style = Style::Line;
  bool on_right = false;  // measured on the axis at the right
};

/// Axes are as long as the points need, rounded outwards to whole ticks; a range that is given is kept.
struct Chart {
  std::string title;
  std::string x_label, y_label, right_label;  // right_label: of the axis at the right, where a series has one
  std::vector<Series> series;
  std::optional<std::pair<double, double>> x_range = {}, y_range = {}, right_range = {};
};

/// Lines without line breaks, none wider than `width` columns; the plot itself is `rows` high.
std::vector<std::string> chart_lines(const Chart& chart, int width, int rows = 16);
/// To stdout, as wide as the terminal (at most 100 columns).
void print_chart(const Chart& chart);
/// A whole SVG document. Nothing in it depends on colours alone: each series has a marker of its own.
std::string chart_svg(const Chart& chart);
/// Several in one document, one below the other.
std::string charts_svg(std::span<const Chart> charts);

/// Where the ticks of an axis stand: multiples of 1, 2 or 5 times a power of ten, `about` of them.
struct Axis {
  double low = 0, high = 1, step = 0.2;
  double at(double value) const { return (value - low) / (high - low); }  // 0 … 1
  std::vector<double> ticks() const;
  std::string label(double tick) const;  // as many decimals as the step has
};
/// `values` may be empty; what is not finite doesn't count.
Axis axis_of(const std::vector<double>& values, const std::optional<std::pair<double, double>>& range, int about);
/// The axes of a chart, for those who draw it.
struct Axes {
  Axis x, y, right;
  bool has_right = false;
};
Axes axes_of(const Chart& chart, int about_x, int about_y);

}  // namespace fovea::cli
