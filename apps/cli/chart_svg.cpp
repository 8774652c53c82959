// The chart as an SVG document.
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "chart.hpp"
#include "table.hpp"

namespace fovea::cli {
namespace {

constexpr double kWidth = 760, kHeight = 440, kLeft = 64, kRight = 64, kTop = 70, kBottom = 54;
constexpr double kPlotWidth = kWidth - kLeft - kRight, kPlotHeight = kHeight - kTop - kBottom;
// Okabe & Ito 2008: told apart by all kinds of colour vision.
constexpr std::array kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};

const char* colour_of(std::size_t series) { return kColours[series % kColours.size()]; }

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string text(double x, double y, const char* anchor, std::string_view what, std::string_view more = "") {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" text-anchor="{}"{}>{}</text>)"
                     "\n",
                     x, y, anchor, more, escaped(what));
}

std::string line(double x0, double y0, double x1, double y1, const char* css) {
  return fmt::format(R"(<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>)"
                     "\n",
                     css, x0, y0, x1, y1);
}

/// Disc, triangle, square, diamond: by the number of the series.
std::string marker(std::size_t series, double x, double y, double r, std::string_view hint = "") {
  const char* colour = colour_of(series);
  const std::string title = hint.empty() ? "" : fmt::format("<title>{}</title>", escaped(hint));
  const auto polygon = [&](std::initializer_list<std::pair<double, double>> corners) {
    std::string points;
    for (const auto& [dx, dy] : corners) points += fmt::format("{:.1f},{:.1f} ", x + dx * r, y + dy * r);
    points.pop_back();
    return fmt::format(R"(<polygon fill="{}" points="{}">{}</polygon>)"
                       "\n",
                       colour, points, title);
  };
  switch (series % 4) {
    case 0:
      return fmt::format(R"(<circle fill="{}" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">{}</circle>)"
                         "\n",
                         colour, x, y, r, title);
    case 1:
      return polygon({{0, -1.2}, {1.1, 0.8}, {-1.1, 0.8}});
    case 2:
      return polygon({{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}});
    default:
      return polygon({{0, -1.3}, {1.1, 0}, {0, 1.3}, {-1.1, 0}});
  }
}

class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(chart), axes_(axes_of(chart, 8, 6)) {}

  /// `place`: attributes that say where it stands in another document.
  std::string document(std::string_view place = "") {
    out_ = fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg"{} viewBox="0 0 {:.0f} {:.0f}" role="img">)"
                       "\n<title>{}</title>\n",
                       place, kWidth, kHeight, escaped(chart_.title));
    out_ +=
        "<style>text { font: 13px sans-serif; fill: #222 } .grid { stroke: #ddd } .axis { stroke: #666 } "
        ".title { font-size: 16px; font-weight: bold } path { fill: none; stroke-width: 2 }</style>\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
    out_ += text(kLeft, 26, "start", chart_.title, R"( class="title")");
    legend();
    axes();
    for (std::size_t i = 0; i < chart_.series.size(); ++i) series(i);
    return out_ + "</svg>\n";
  }

 private:
  double x(double value) const { return kLeft + kPlotWidth * axes_.x.at(value); }
  double y(const Axis& axis, double value) const { return kTop + kPlotHeight * (1 - axis.at(value)); }

  void legend() {
    double at = kLeft;
    for (std::size_t i = 0; i < chart_.series.size(); ++i) {
      const Series& s = chart_.series[i];
      const std::string name = s.name + (s.on_right ? " (right)" : "");
      out_ += marker(i, at + 5, 45, 5);
      out_ += text(at + 15, 49, "start", name);
      at += 15 + 7.2 * display_width(name) + 18;
    }
  }

  void axes() {
    const double bottom = kTop + kPlotHeight, right = kLeft + kPlotWidth;
    for (const double tick : axes_.y.ticks()) {
      out_ += line(kLeft, y(axes_.y, tick), right, y(axes_.y, tick), "grid");
      out_ += text(kLeft - 8, y(axes_.y, tick) + 4, "end", axes_.y.label(tick));
    }
    if (axes_.has_right)
      for (const double tick : axes_.right.ticks())
        out_ += text(right + 8, y(axes_.right, tick) + 4, "start", axes_.right.label(tick));
    for (const double tick : axes_.x.ticks()) {
      out_ += line(x(tick), bottom, x(tick), bottom + 5, "axis");
      out_ += text(x(tick), bottom + 20, "middle", axes_.x.label(tick));
    }
    out_ += line(kLeft, bottom, right, bottom, "axis") + line(kLeft, kTop, kLeft, bottom, "axis");
    if (axes_.has_right) out_ += line(right, kTop, right, bottom, "axis");
    out_ += text(kLeft + kPlotWidth / 2, kHeight - 12, "middle", chart_.x_label);
    out_ += sideways(18, chart_.y_label);
    if (axes_.has_right) out_ += sideways(kWidth - 14, chart_.right_label);
  }

  static std::string sideways(double x, std::string_view what) {
    const double middle = kTop + kPlotHeight / 2;
    return text(x, middle, "middle", what, fmt::format(R"-( transform="rotate(-90 {:.1f} {:.1f})")-", x, middle));
  }

  void series(std::size_t i) {
    const Series& s = chart_.series[i];
    const Axis& axis = s.on_right ? axes_.right : axes_.y;
    std::string path, markers;
    for (const auto& [at, value] : s.points) {
      if (!std::isfinite(at) || !std::isfinite(value)) continue;
      const double px = x(at), py = y(axis, value);
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "M" : " L", px, py);
      markers += marker(i, px, py, s.style == Series::Style::Line ? 4 : 3,
                        fmt::format("{}: {:.6g}, {:.6g}", s.name, at, value));
    }
    if (s.style == Series::Style::Line && !path.empty())
      out_ += fmt::format(R"(<path stroke="{}"{} d="{}"/>)"
                          "\n",
                          colour_of(i), s.on_right ? R"( stroke-dasharray="6 4")" : "", path);
    out_ += markers;
  }

  const Chart& chart_;
  Axes axes_;
  std::string out_;
};

}  // namespace

std::string chart_svg(const Chart& chart) { return Drawing(chart).document(); }

std::string charts_svg(std::span<const Chart> charts) {
  if (charts.size() == 1) return chart_svg(charts.front());
  std::string out = fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {:.0f} {:.0f}">)"
                                "\n",
                                kWidth, kHeight * static_cast<double>(charts.size()));
  double y = 0;
  for (const Chart& chart : charts) {
    out += Drawing(chart).document(fmt::format(R"( y="{:.0f}" width="{:.0f}" height="{:.0f}")", y, kWidth, kHeight));
    y += kHeight;
  }
  return out + "</svg>\n";
}

}  // namespace fovea::cli
