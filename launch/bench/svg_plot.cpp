#include "launch/bench/svg_plot.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

namespace fovea::bench {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 300;
constexpr double kLeft = 70;
constexpr double kRight = 18;
constexpr double kTop = 14;
constexpr double kBottom = 46;
constexpr std::size_t kColours = 8;
constexpr double kRowHeight = 40;

std::string open_svg(double height, std::string_view title) {
  return fmt::format("<svg viewBox=\"0 0 {:g} {:g}\" role=\"img\" aria-label=\"{}\">", kWidth,
                     height, escape_html(title));
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view text,
                    std::string_view extra = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>", x, y, anchor,
                     extra, escape_html(text));
}

// From data to the page.
class Frame {
 public:
  Frame(const Axis& x, const Axis& y) : x_(x), y_(y) {
    widen(x_);
    widen(y_);
  }

  double x(double value) const { return kLeft + part(x_, value) * (kWidth - kLeft - kRight); }
  double y(double value) const {
    return kHeight - kBottom - part(y_, value) * (kHeight - kTop - kBottom);
  }

  std::string axes() const {
    std::string svg;
    for (const double tick : ticks_of(y_, 5)) {
      svg +=
          fmt::format("<line class=\"grid\" x1=\"{:g}\" x2=\"{:g}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                      kLeft, kWidth - kRight, y(tick), y(tick));
      svg += text_at(kLeft - 8, y(tick) + 4, "end", fmt::format("{:g}", tick));
    }
    for (const double tick : ticks_of(x_, 8))
      svg += text_at(x(tick), kHeight - kBottom + 18, "middle", fmt::format("{:g}", tick));
    svg +=
        text_at((kLeft + kWidth - kRight) / 2, kHeight - 8, "middle", x_.title, " class=\"title\"");
    svg += text_at(0, 0, "middle", y_.title,
                   fmt::format(" class=\"title\" transform=\"translate(14 {:.1f}) rotate(-90)\"",
                               (kTop + kHeight - kBottom) / 2));
    return svg;
  }

 private:
  static void widen(Axis& axis) {
    if (axis.logarithmic) axis.low = std::max(axis.low, 1e-3);
    if (!(axis.high > axis.low)) axis.high = axis.low + 1;
  }
  static double part(const Axis& axis, double value) {
    const double p = axis.logarithmic ? std::log(std::max(value, axis.low) / axis.low) /
                                            std::log(axis.high / axis.low)
                                      : (value - axis.low) / (axis.high - axis.low);
    return std::clamp(p, 0.0, 1.0);
  }
  static std::vector<double> ticks_of(const Axis& axis, int count) {
    if (!axis.logarithmic) return ticks(axis.low, axis.high, count);
    std::vector<double> result;
    for (double decade = std::pow(10, std::floor(std::log10(axis.low))); decade <= axis.high;
         decade *= 10) {
      for (const double step : {1.0, 2.0, 5.0}) {
        if (decade * step >= axis.low && decade * step <= axis.high)
          result.push_back(decade * step);
      }
    }
    return result;
  }

  Axis x_, y_;
};

std::string legend(const std::vector<std::string>& names) {
  std::string html = "<div class=\"legend\">";
  for (std::size_t i = 0; i < names.size(); ++i)
    html +=
        fmt::format("<span><i class=\"b{}\"></i>{}</span>", i % kColours, escape_html(names[i]));
  return html + "</div>";
}

}  // namespace

std::vector<double> ticks(double low, double high, int count) {
  const double rough = (high - low) / count;
  if (!(rough > 0) || !std::isfinite(rough)) return {};
  const double magnitude = std::pow(10, std::floor(std::log10(rough)));
  const double step = rough / magnitude > 5   ? 10 * magnitude
                      : rough / magnitude > 2 ? 5 * magnitude
                      : rough / magnitude > 1 ? 2 * magnitude
                                              : magnitude;
  std::vector<double> result;
  for (double n = std::ceil(low / step - 1e-9); n * step <= high + step * 1e-9; ++n)
    result.push_back(std::abs(n) < 0.5 ? 0 : n * step);
  return result;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
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

std::string line_plot(const Axis& x, const Axis& y, const std::vector<Series>& series) {
  const Frame frame(x, y);
  std::string svg = open_svg(kHeight, y.title + " over " + x.title) + frame.axes();
  std::vector<std::string> names;
  for (std::size_t i = 0; i < series.size(); ++i) {
    names.push_back(series[i].name);
    svg += fmt::format("<polyline class=\"line s{}\" points=\"", i % kColours);
    for (const auto& [px, py] : series[i].points)
      svg += fmt::format("{:.1f},{:.1f} ", frame.x(px), frame.y(py));
    svg += "\"/>";
  }
  svg += "</svg>";
  return series.size() > 1 ? svg + legend(names) : svg;
}

std::string stack_plot(const std::string& unit, const std::vector<std::string>& part_names,
                       const std::vector<StackRow>& rows) {
  double longest = 0;
  for (const StackRow& row : rows) {
    double sum = 0;
    for (const double part : row.parts) sum += part;
    longest = std::max(longest, sum);
  }
  if (!(longest > 0)) longest = 1;
  const double height = kRowHeight * static_cast<double>(rows.size()) + 40;
  const double scale = (kWidth - kLeft - 80) / longest;
  std::string svg = open_svg(height, "composition in " + unit);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const double y = 8 + kRowHeight * static_cast<double>(r);
    double x = kLeft;
    double sum = 0;
    svg += text_at(kLeft - 8, y + 20, "end", rows[r].name);
    for (std::size_t i = 0; i < rows[r].parts.size(); ++i) {
      const double value = rows[r].parts[i];
      svg += fmt::format(
          "<rect class=\"b{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"28\">"
          "<title>{}: {:.3f} {}</title></rect>",
          i % kColours, x, y, std::max(value * scale, 0.0), escape_html(part_names[i]), value,
          escape_html(unit));
      x += value * scale;
      sum += value;
    }
    svg += text_at(x + 6, y + 20, "start", fmt::format("{:.2f} {}", sum, unit));
  }
  for (const double tick : ticks(0, longest, 8))
    svg += text_at(kLeft + tick * scale, height - 10, "middle", fmt::format("{:g}", tick));
  return svg + "</svg>" + legend(part_names);
}

std::string bar_plot(const std::string& y_title,
                     const std::vector<std::pair<std::string, double>>& bars) {
  double highest = 0;
  for (const auto& [name, value] : bars) highest = std::max(highest, value);
  const Axis y{y_title, 0, highest > 0 ? highest * 1.1 : 1, false};
  const Frame frame({"", 0, 1, false}, y);
  std::string svg = open_svg(kHeight, y_title);
  const double width =
      (kWidth - kLeft - kRight) / static_cast<double>(std::max<std::size_t>(bars.size(), 1));
  for (const double tick : ticks(0, y.high, 5)) {
    svg += fmt::format("<line class=\"grid\" x1=\"{:g}\" x2=\"{:g}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>",
                       kLeft, kWidth - kRight, frame.y(tick), frame.y(tick));
    svg += text_at(kLeft - 8, frame.y(tick) + 4, "end", fmt::format("{:g}", tick));
  }
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double bar = std::min(width * 0.62, 90.0);
    const double centre = kLeft + width * (static_cast<double>(i) + 0.5);
    const double top = frame.y(bars[i].second);
    svg += fmt::format(
        "<rect class=\"b0\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
        "rx=\"3\"/>",
        centre - bar / 2, top, bar, kHeight - kBottom - top);
    svg += text_at(centre, top - 5, "middle", fmt::format("{:g}", bars[i].second));
    svg += text_at(centre, kHeight - kBottom + 18, "middle", bars[i].first);
  }
  svg += text_at(0, 0, "middle", y_title,
                 fmt::format(" class=\"title\" transform=\"translate(14 {:.1f}) rotate(-90)\"",
                             (kTop + kHeight - kBottom) / 2));
  return svg + "</svg>";
}

std::string point_plot(const Axis& x, const Axis& y, const std::vector<Point>& points) {
  const Frame frame(x, y);
  std::string svg = open_svg(kHeight, y.title + " over " + x.title) + frame.axes();
  std::vector<Point> marked;
  std::copy_if(points.begin(), points.end(), std::back_inserter(marked),
               [](const Point& point) { return point.marked; });
  std::sort(marked.begin(), marked.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
  svg += "<polyline class=\"line s0 dashed\" points=\"";
  for (const Point& point : marked)
    svg += fmt::format("{:.1f},{:.1f} ", frame.x(point.x), frame.y(point.y));
  svg += "\"/>";
  for (const Point& point : points) {
    const bool right_half = frame.x(point.x) > kWidth * 0.7;
    svg += fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"/>",
                       point.marked ? "b0" : "dim", frame.x(point.x), frame.y(point.y));
    svg += text_at(frame.x(point.x) + (right_half ? -9 : 9), frame.y(point.y) + 4,
                   right_half ? "end" : "start", point.name);
  }
  return svg + "</svg>";
}

}  // namespace fovea::bench
