// An SVG written by hand: two logarithmic axes and a line per transport.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "bench/pubsub/report.hpp"

namespace fovea::bench {
namespace {

constexpr double kWidth = 760, kHeight = 460;
constexpr double kLeft = 80, kRight = 210, kTop = 40, kBottom = 60;
// Dark enough on white, and apart from each other without colour vision (Okabe and Ito).
constexpr std::array kColours{"#0072b2", "#56b4e9", "#e69f00", "#009e73", "#d55e00"};

// Maps a logarithmic range to pixels.
struct LogAxis {
  double low, high, first_px, last_px;
  double operator()(double value) const {
    return first_px + (std::log10(value) - std::log10(low)) / (std::log10(high) - std::log10(low)) *
                          (last_px - first_px);
  }
};

std::string time_name(double us) {
  if (us >= 1000) return fmt::format("{:.0f} ms", us / 1000);
  return fmt::format("{:.0f} us", us);
}

std::string text(double x, double y, const char* anchor, const std::string& content,
                 const char* extra = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, extra, content);
}

}  // namespace

std::string latency_plot(Suite& suite) {
  struct Line {
    std::string name, title;
    std::vector<std::pair<double, double>> points;  // bytes, us
  };
  std::vector<Line> lines;
  std::vector<double> sizes;
  double low = 1e9, high = 0;
  for (Cell& cell : suite.cells) {
    if (cell.held_ns.empty()) continue;
    const auto bytes = static_cast<double>(cell.job.bytes);
    const double us = std::max(0.1, percentile_us(cell.held_ns, .5));
    if (std::find(sizes.begin(), sizes.end(), bytes) == sizes.end()) sizes.push_back(bytes);
    auto line = std::find_if(lines.begin(), lines.end(),
                             [&](const Line& l) { return l.name == cell.job.transport; });
    if (line == lines.end()) {
      lines.push_back(
          {cell.job.transport, std::string(find_transport(cell.job.transport)->title), {}});
      line = lines.end() - 1;
    }
    line->points.emplace_back(bytes, us);
    low = std::min(low, us);
    high = std::max(high, us);
  }
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
      kWidth, kHeight);
  if (lines.empty()) return svg + "</svg>\n";
  low = std::pow(10, std::floor(std::log10(low)));
  high = std::pow(10, std::ceil(std::log10(high)));
  const LogAxis x{sizes.front(), std::max(sizes.back(), 2 * sizes.front()), kLeft, kWidth - kRight};
  const LogAxis y{low, std::max(high, 10 * low), kHeight - kBottom, kTop};

  svg += text(kLeft, 22, "start",
              "Median latency until a subscriber holds the frame (" + suite.title + ")");
  for (double decade = low; decade <= y.high * 1.001; decade *= 10) {
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>\n",
        kLeft, kWidth - kRight, y(decade));
    svg += text(kLeft - 8, y(decade) + 4, "end", time_name(decade));
  }
  for (const double size : sizes) {
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/>\n",
        x(size), kTop, kHeight - kBottom);
    // 6.2 and 24.9 MB lie close together.
    const double drop = size == sizes.back() ? 34 : 18;
    svg += text(x(size), kHeight - kBottom + drop, "middle",
                size_name(static_cast<std::size_t>(size)));
  }
  // Names keep clear of each other beside their line's end.
  std::vector<std::pair<double, std::size_t>> ends;
  for (std::size_t i = 0; i < lines.size(); ++i)
    ends.emplace_back(y(lines[i].points.back().second), i);
  std::sort(ends.begin(), ends.end());
  for (std::size_t i = 1; i < ends.size(); ++i)
    ends[i].first = std::max(ends[i].first, ends[i - 1].first + 16);
  for (const auto& [name_y, i] : ends) {
    const Line& line = lines[i];
    const char* colour = kColours[i % kColours.size()];
    std::string path;
    for (const auto& [bytes, us] : line.points) {
      path += fmt::format("{:.1f},{:.1f} ", x(bytes), y(us));
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"/>\n", x(bytes),
                         y(us), colour);
    }
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n",
                       path, colour);
    svg += text(kWidth - kRight + 12, name_y + 4, "start", line.title,
                fmt::format(" fill=\"{}\"", colour).c_str());
  }
  return svg + "</svg>\n";
}

}  // namespace fovea::bench
