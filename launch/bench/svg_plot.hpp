// Plots as inline SVG: lines, stacked bars, bars, points. Colours and fonts come from the page's
// style sheet (classes s0..s7), so a plot follows its theme.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fovea::bench {

struct Axis {
  std::string title;
  double low = 0;
  double high = 1;
  bool logarithmic = false;
};

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

// Lines over a common grid; one series gets no legend.
std::string line_plot(const Axis& x, const Axis& y, const std::vector<Series>& series);

// One horizontal bar a row, made of `parts` in order; every part is a class of its own.
struct StackRow {
  std::string name;
  std::vector<double> parts;
};
std::string stack_plot(const std::string& unit, const std::vector<std::string>& part_names,
                       const std::vector<StackRow>& rows);

// One vertical bar each, labelled with its value.
std::string bar_plot(const std::string& y_title,
                     const std::vector<std::pair<std::string, double>>& bars);

// Labelled points; those that are marked are joined by a line in order of x.
struct Point {
  std::string name;
  double x = 0, y = 0;
  bool marked = false;
};
std::string point_plot(const Axis& x, const Axis& y, const std::vector<Point>& points);

// Round numbers within [low, high], about `count` of them.
std::vector<double> ticks(double low, double high, int count);

std::string escape_html(std::string_view text);

}  // namespace fovea::bench
