// Report as one page that needs nothing else: no script, no fonts, no references.
#include <algorithm>
#include <cmath>

#include <fmt/core.h>

#include "launch/bench/report.hpp"
#include "launch/bench/svg_plot.hpp"

namespace fovea::bench {
namespace {

constexpr std::string_view kStyle = R"(
:root{--ink:#1b2430;--soft:#5c6b7a;--line:#e3e8ee;--paper:#fff;--ground:#f4f6f9;
--c0:#2563eb;--c1:#94b4f5;--c2:#0d9488;--c3:#7cd0c6;--c4:#ea580c;--c5:#f5b58a;--c6:#7c3aed;--c7:#c6a8f4}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf2;--soft:#93a1b3;--line:#2b3543;--paper:#171d26;
--ground:#0e131a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:24px;margin:0 0 2px}h2{font-size:16px;margin:0 0 10px}
p{margin:8px 0}.soft{color:var(--soft)}code{font-size:13px;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:20px 0}
.tile,section{background:var(--paper);border:1px solid var(--line);border-radius:10px}
.tile{padding:12px 14px}.tile b{display:block;font-size:24px;font-weight:650;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(520px,100%),1fr));gap:14px}
section{padding:16px 18px;min-width:0;overflow-x:auto}.wide{grid-column:1/-1}
svg{width:100%;height:auto;display:block}.wide svg{max-width:720px}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}svg .title{fill:var(--ink)}
.grid{stroke:var(--line)}.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:5 4}
.dim{fill:var(--soft);opacity:.6}
.s0{stroke:var(--c0)}.s1{stroke:var(--c2)}.s2{stroke:var(--c4)}.s3{stroke:var(--c6)}.s4{stroke:var(--c1)}
.s5{stroke:var(--c3)}.s6{stroke:var(--c5)}.s7{stroke:var(--c7)}
.b0{fill:var(--c0);background:var(--c0)}.b1{fill:var(--c1);background:var(--c1)}
.b2{fill:var(--c2);background:var(--c2)}.b3{fill:var(--c3);background:var(--c3)}
.b4{fill:var(--c4);background:var(--c4)}.b5{fill:var(--c5);background:var(--c5)}
.b6{fill:var(--c6);background:var(--c6)}.b7{fill:var(--c7);background:var(--c7)}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px;color:var(--soft);margin-top:6px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}
.lines .b1{background:var(--c2)}.lines .b2{background:var(--c4)}.lines .b3{background:var(--c6)}
.lines .b4{background:var(--c1)}.lines .b5{background:var(--c3)}.lines .b6{background:var(--c5)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:4px 5px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th{font-weight:600;color:var(--soft)}th:first-child,td:first-child{text-align:left}
td.words{text-align:left;white-space:normal}
)";

std::string number(const Figure* figure, int digits) {
  return figure == nullptr ? "–" : fmt::format("{:.{}f}", figure->mean(), digits);
}

std::string confidence(const std::vector<double>& runs, int digits) {
  if (runs.size() < 2) return "";
  return fmt::format(" ±{:.{}f}", confidence_interval(runs).high - mean(runs), digits);
}
std::string confidence(const Figure* figure, int digits) {
  return figure == nullptr ? "" : confidence(figure->runs, digits);
}
std::string with_confidence(const std::vector<double>& runs, int digits) {
  return fmt::format("{:.{}f}{}", mean(runs), digits, confidence(runs, digits));
}

class Page {
 public:
  explicit Page(const Report& report) : report_(report) {}

  std::string write() {
    head();
    if (!report_.figures.empty()) {
      tiles();
      html_ += "<div class=\"plots\">";
      latency_plots();
      time_plots();
      tables();
      counts();
      html_ += "</div>";
    }
    html_ += "<div class=\"plots\" style=\"margin-top:14px\">";
    extras();
    environment();
    html_ += "</div></main></body></html>\n";
    return std::move(html_);
  }

 private:
  void section(std::string_view title, const std::string& content, std::string_view classes = "") {
    html_ += fmt::format("<section class=\"{}\"><h2>{}</h2>{}</section>\n", classes,
                         escape_html(title), content);
  }

  void head() {
    const BenchConfig& config = report_.config;
    const std::string rate =
        config.rate == kMaxRate ? "as fast as possible" : fmt::format("{:g} Hz each", config.rate);
    const std::string title =
        report_.sweep.empty() ? fmt::format("{} cameras, {}", config.cameras, rate) : "Sweep";
    // A sweep's settings are in its table.
    const std::string what =
        report_.sweep.empty()
            ? fmt::format("{} · {} · ", config.model.filename().string(), report_.engine)
            : "";
    html_ = fmt::format(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><title>Fovea bench: {}</title><style>{}</style></head>"
        "<body><main><h1>{}</h1><p class=\"soft\">{}{}x{} · {} run{} of {:g} s · {}</p>"
        "<p><code>{}</code></p>\n",
        escape_html(title), kStyle, escape_html(title), escape_html(what), config.width,
        config.height, config.runs, config.runs == 1 ? "" : "s", config.duration_s,
        escape_html(report_.started), escape_html(report_.command));
  }

  void tile(std::string_view label, const std::string& figure, int digits, std::string_view unit) {
    const Figure* found = report_.find(figure);
    html_ += fmt::format("<div class=\"tile\"><b>{}</b><span>{}{}<br>{}</span></div>",
                         number(found, digits), unit, confidence(found, digits), label);
  }

  void tiles() {
    html_ += "<div class=\"tiles\">";
    tile("frames a second, all cameras", "fps", 1, "1/s");
    tile("latency, median", "latency_ms.p50", 2, "ms");
    tile("latency, 99 of 100 below", "latency_ms.p99", 2, "ms");
    tile("median without the engine", "overhead_ms.p50", 2, "ms");
    tile("frames lost", "loss_percent", 2, "%");
    tile("CPU time a frame", "cpu_ms_per_frame", 2, "ms");
    tile("copied a frame", "bytes_copied_per_frame", 0, "bytes");
    html_ += "</div>";
  }

  void latency_plots() {
    Series curve{"latency", {}};
    for (const auto& [q, ms] : report_.distribution) curve.points.emplace_back(ms, 100 * q);
    const double longest = report_.distribution.empty() ? 1 : report_.distribution.back().second;
    const double shortest = report_.distribution.empty() ? 0 : report_.distribution.front().second;
    const bool wide = longest > 20 * std::max(shortest, 0.01);
    section("Latency: share of frames below",
            line_plot({"ms from the instant a frame was due to its detections at a subscriber",
                       wide ? shortest : 0, longest, wide},
                      {"% of frames", 0, 100, false}, {curve}));

    std::vector<std::string> names;
    StackRow means{"mean", {}};
    StackRow medians{"p50", {}};
    for (const Spread& piece : report_.pieces) {
      names.push_back(piece.name);
      means.parts.push_back(piece.mean);
      medians.parts.push_back(piece.quantiles[0]);
    }
    section("Where the time goes",
            stack_plot("ms", names, {means, medians}) +
                fmt::format("<p class=\"soft\">The pieces' means add up to {:.2f} % of the mean "
                            "latency. Medians of pieces need not add up to a median.</p>",
                            100 * report_.piece_sum_ratio));
  }

  using Value = double Slice::*;

  // One curve for each run, or for each of `values` where there is a single run.
  void over_time(std::string_view title, const char* unit,
                 const std::vector<std::pair<const char*, Value>>& values) {
    std::vector<Series> curves;
    double last = 1;
    double highest = 0;
    for (const auto& [name, value] : values) {
      for (std::size_t i = 0; i < report_.slices.size(); ++i) {
        curves.push_back({report_.slices.size() > 1 ? fmt::format("run {}", i + 1) : name, {}});
        for (const Slice& slice : report_.slices[i]) {
          curves.back().points.emplace_back(slice.at_s + report_.slice_s / 2, slice.*value);
          last = std::max(last, slice.at_s + report_.slice_s);
          highest = std::max(highest, slice.*value);
        }
      }
    }
    section(title,
            line_plot({fmt::format("s, in steps of {:g}", report_.slice_s), 0, last, false},
                      {unit, 0, highest * 1.1, false}, curves),
            "lines");
  }

  void time_plots() {
    over_time("Frames a second over time", "1/s", {{"fps", &Slice::fps}});
    if (report_.slices.size() == 1) {
      over_time("Latency over time", "ms", {{"p50", &Slice::p50_ms}, {"p99", &Slice::p99_ms}});
    } else {
      over_time("Median latency over time", "ms", {{"p50", &Slice::p50_ms}});
      over_time("99th percentile over time", "ms", {{"p99", &Slice::p99_ms}});
    }
    over_time("CPU over time", "% of the machine", {{"CPU", &Slice::cpu_percent}});
    if (is_hot()) over_time("Highest temperature", "°C", {{"°C", &Slice::hottest_c}});
    if (!report_.sustained.empty()) sustained();
  }

  bool is_hot() const {
    return std::any_of(report_.slices.begin(), report_.slices.end(), [](const auto& slices) {
      return std::any_of(slices.begin(), slices.end(),
                         [](const Slice& slice) { return slice.hottest_c > 0; });
    });
  }

  void sustained() {
    std::string table =
        "<table><tr><th></th><th>1/s</th><th>p50 ms</th><th>p99 ms</th><th>CPU %</th><th>°C</th>"
        "</tr>";
    const auto row = [&](const std::string& name, const Slice& slice) {
      table += fmt::format(
          "<tr><td>{}</td><td>{:.1f}</td><td>{:.2f}</td><td>{:.2f}</td><td>{:.0f}</td><td>{}</td>"
          "</tr>",
          name, slice.fps, slice.p50_ms, slice.p99_ms, slice.cpu_percent,
          slice.hottest_c > 0 ? fmt::format("{:.0f}", slice.hottest_c) : "–");
    };
    for (std::size_t i = 0; i < report_.sustained.size(); ++i) {
      const auto& [first, last] = report_.sustained[i];
      const std::string run =
          report_.sustained.size() > 1 ? fmt::format("run {}: ", i + 1) : std::string();
      row(run + "first minute", first);
      row(run + "last minute", last);
      const auto change = [](double value, double base) {
        return base > 0 ? fmt::format("{:+.1f} %", 100 * (value / base - 1)) : std::string("–");
      };
      table += fmt::format(
          "<tr><td>{}change</td><td>{}</td><td>{}</td><td>{}</td><td></td><td></td></tr>", run,
          change(last.fps, first.fps), change(last.p50_ms, first.p50_ms),
          change(last.p99_ms, first.p99_ms));
    }
    section("Sustained: the last minute and the first",
            table + "</table>" +
                (is_hot() ? "" : "<p class=\"soft\">No temperature can be read here.</p>"));
  }

  void counts() {
    std::vector<std::pair<std::string, double>> bars;
    for (const auto& [size, count] : report_.batches)
      bars.emplace_back(fmt::format("{} frame{}", size, size == 1 ? "" : "s"),
                        static_cast<double>(count));
    section("Batches", bar_plot("inferences", bars));
    drops();
    books();
  }

  void drops() {
    std::string table = "<table><tr><th>stage</th>";
    for (std::size_t i = 0; i < kDropReasons; ++i)
      table += fmt::format("<th>{}</th>", to_string(static_cast<DropReason>(i)));
    table += "</tr>";
    for (const std::string& stage : report_.stages) {
      const auto found = report_.drops.find(stage);
      if (found == report_.drops.end()) continue;
      table += fmt::format("<tr><td>{}</td>", stage);
      for (const std::uint64_t count : found->second) table += fmt::format("<td>{}</td>", count);
      table += "</tr>";
    }
    section("Frames dropped, by stage and reason", table + "</table>");
  }

  void books() {
    std::string table =
        "<table><tr><th>camera</th><th>offered</th><th>delivered</th><th>captured</th>"
        "<th>delivered</th><th>dropped</th></tr>";
    for (std::size_t camera = 0; camera < report_.books.front().size(); ++camera) {
      CameraCount sum;
      for (const auto& book : report_.books) {
        sum.offered += book[camera].offered;
        sum.delivered += book[camera].delivered;
        sum.captured_total += book[camera].captured_total;
        sum.delivered_total += book[camera].delivered_total;
        sum.dropped_total += book[camera].dropped_total;
      }
      table +=
          fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                      report_.books.front()[camera].name, sum.offered, sum.delivered,
                      sum.captured_total, sum.delivered_total, sum.dropped_total);
    }
    section("The books",
            table +
                "</table><p class=\"soft\">Offered and delivered: within the measured windows. The "
                "rest: from the first process to the last; captured = delivered + dropped.</p>");
  }

  void spread_row(std::string& table, const Spread& spread) {
    table += fmt::format("<tr><td>{}</td><td>{:.3f}</td>", escape_html(spread.name), spread.mean);
    for (const double value : spread.quantiles) table += fmt::format("<td>{:.3f}</td>", value);
    table += fmt::format("<td>{:.3f}</td></tr>", spread.max);
  }

  void tables() {
    const std::string header =
        "<table><tr><th>ms</th><th>mean</th><th>p50</th><th>p90</th><th>p95</th><th>p99</th>"
        "<th>p99.9</th><th>max</th></tr>";
    std::string table = header;
    Spread all = report_.latency;
    all.name = "end to end";
    spread_row(table, all);
    for (const Spread& camera : report_.cameras) spread_row(table, camera);
    for (const Spread& piece : report_.pieces) spread_row(table, piece);
    section(fmt::format("Latency of {} frames", report_.latency.count), table + "</table>");

    std::string processes =
        "<table><tr><th>process</th><th>CPU %</th><th>memory MB</th><th>shared MB</th></tr>";
    constexpr std::string_view kPrefix = "cpu_percent.";
    for (const Figure& figure : report_.figures) {
      if (!figure.name.starts_with(kPrefix) || figure.name == "cpu_percent.machine") continue;
      const std::string name = figure.name.substr(kPrefix.size());
      processes += fmt::format("<tr><td>{}</td><td>{}{}</td><td>{}</td><td>{}</td></tr>",
                               escape_html(name), number(&figure, 1), confidence(&figure, 1),
                               number(report_.find("rss_mb." + name), 1),
                               number(report_.find("shared_mb." + name), 1));
    }
    section("Processes", processes + "</table><p class=\"soft\">100 % is one core.</p>");
  }

  void extras() {
    if (report_.peak) peak(*report_.peak);
    if (!report_.rivals.empty()) rivals();
    if (!report_.faults.empty()) faults();
    if (!report_.sweep.empty()) sweep();
  }

  void peak(const Peak& peak) {
    std::string table =
        "<table><tr><th>search</th><th>rate of each camera, Hz</th><th>lost %</th><th></th></tr>";
    for (std::size_t i = 0; i < peak.steps.size(); ++i) {
      for (const PeakStep& step : peak.steps[i])
        table += fmt::format("<tr><td>{}</td><td>{:.2f}</td><td>{:.2f}</td><td>{}</td></tr>", i + 1,
                             step.rate, 100 * step.loss, step.kept_up ? "kept up" : "too fast");
    }
    section(fmt::format("Peak: {} frames a second with less than {:g} % lost",
                        with_confidence(peak.total_fps, 1), 100 * peak.limit),
            table + "</table>");
  }

  void rivals() {
    std::vector<std::pair<std::string, double>> bars;
    if (report_.peak) bars.emplace_back("Fovea, peak", rounded(mean(report_.peak->total_fps)));
    std::string table =
        "<table><tr><th></th><th>1/s</th><th>p50 ms</th><th>p99 ms</th><th>CPU %</th><th>ours / "
        "it</th><th></th></tr>";
    for (const Rival& rival : report_.rivals) {
      if (rival.missing.empty()) {
        bars.emplace_back(rival.name, rounded(mean(rival.fps)));
        table += fmt::format(
            "<tr><td>{}</td><td>{}</td><td>{:.2f}</td><td>{:.2f}</td>"
            "<td>{:.0f}</td><td>{}x</td><td class=\"words\">{}</td></tr>",
            escape_html(rival.name), with_confidence(rival.fps, 1), mean(rival.p50_ms),
            mean(rival.p99_ms), mean(rival.cpu_percent), with_confidence(rival.ratio, 2),
            escape_html(rival.what));
      } else {
        table += fmt::format("<tr><td>{}</td><td colspan=\"6\" class=\"words\">{}</td></tr>",
                             escape_html(rival.name), escape_html(rival.missing));
      }
    }
    section("Rivals on the same video and model",
            bar_plot("frames a second", bars) + table + "</table>", "wide");
  }

  static double rounded(double value) { return std::round(value * 10) / 10; }

  void faults() {
    std::string table =
        "<table><tr><th>fault</th><th>at s</th><th>recovered after s</th><th>frames lost</th>"
        "<th></th></tr>";
    for (const Fault& fault : report_.faults)
      table += fmt::format(
          "<tr><td>{}</td><td>{:.1f}</td><td>{}</td><td>{}</td><td class=\"words\">{}</td></tr>",
          escape_html(fault.name), fault.at_s,
          fault.recovered_s < 0 ? std::string("never") : fmt::format("{:.2f}", fault.recovered_s),
          fault.lost, escape_html(fault.detail));
    section("Faults", table + "</table>", "wide");
  }

  void sweep() {
    const std::vector<SweepPoint>& points = report_.sweep;
    const bool has_front = std::any_of(points.begin(), points.end(),
                                       [](const SweepPoint& point) { return point.on_front; });
    if (has_front) {
      front();
    } else {
      costs();
    }
    std::string table =
        "<table><tr><th>cameras</th><th>precision</th><th>model</th><th>batch</th><th>1/s</th>"
        "<th>p50 ms</th><th>p99 ms</th><th>CPU ms a frame</th><th>peak 1/s</th><th>lost "
        "%</th><th>mAP50-95</th></tr>";
    for (const SweepPoint& point : points)
      table += fmt::format(
          "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
          "<td>{}</td><td>{}</td><td>{:.2f}</td><td>{}</td></tr>",
          point.cameras, escape_html(point.precision), escape_html(point.model), point.batch,
          with_confidence(point.fps, 1), with_confidence(point.p50_ms, 2),
          with_confidence(point.p99_ms, 2), with_confidence(point.cpu_ms_per_frame, 2),
          point.peak_fps.empty() ? "–" : with_confidence(point.peak_fps, 1), 100 * point.loss,
          point.map_50_95 ? fmt::format("{:.1f}", *point.map_50_95) : "–");
    section("Settings", table + "</table>", "wide");
  }

  static std::string setting(const SweepPoint& point) {
    return point.precision + (point.batch > 0 ? fmt::format(" b{}", point.batch) : "");
  }

  // Speed against accuracy, or latency where that was not measured.
  void front() {
    std::vector<Point> points;
    double fastest = 1;
    double best = 0;
    bool has_map = false;
    for (const SweepPoint& point : report_.sweep) has_map = has_map || point.map_50_95.has_value();
    for (const SweepPoint& point : report_.sweep) {
      const double y = has_map ? point.map_50_95.value_or(0) : mean(point.p50_ms);
      points.push_back({fmt::format("{} x {}", point.cameras, setting(point)), point.speed(), y,
                        point.on_front});
      fastest = std::max(fastest, point.speed());
      best = std::max(best, y);
    }
    section(has_map ? "Speed and accuracy" : "Speed and latency",
            point_plot({"frames a second, all cameras", 0, fastest * 1.15, false},
                       {has_map ? "mAP50-95" : "p50 ms", 0, best * 1.2, false}, points),
            "wide");
  }

  // All were as fast, for the rate was given: what that took.
  void costs() {
    std::vector<Series> curves;
    double most = 1;
    double highest = 0;
    for (const SweepPoint& point : report_.sweep) {
      const std::string name = point.model + ", " + setting(point);
      auto curve = std::find_if(curves.begin(), curves.end(),
                                [&](const Series& series) { return series.name == name; });
      if (curve == curves.end()) curve = curves.insert(curve, Series{name, {}});
      curve->points.emplace_back(point.cameras, mean(point.cpu_ms_per_frame));
      most = std::max(most, static_cast<double>(point.cameras));
      highest = std::max(highest, mean(point.cpu_ms_per_frame));
    }
    section("What a frame costs",
            line_plot({"cameras", 0, most, false}, {"CPU ms", 0, highest * 1.1, false}, curves) +
                "<p class=\"soft\">At a fixed rate nothing is faster: --peak, or --rate max, shows "
                "speed.</p>",
            "wide lines");
  }

  void environment() {
    const Host& host = report_.host;
    std::string features;
    for (const std::string& feature : host.features) features += feature + " ";
    section("Measured on",
            fmt::format("<table><tr><td>CPU</td><td class=\"words\">{}, {} cores ({})</td></tr>"
                        "<tr><td>memory</td><td class=\"words\">{:.1f} GB</td></tr>"
                        "<tr><td>kernel</td><td class=\"words\">{}</td></tr>"
                        "<tr><td>load before</td><td class=\"words\">{:.2f}</td></tr>"
                        "<tr><td>video</td><td class=\"words\">{}<br><code>{}</code></td></tr>"
                        "<tr><td>model</td><td class=\"words\">{}<br><code>{}</code></td></tr>"
                        "<tr><td>Fovea</td><td class=\"words\">{}</td></tr></table>",
                        escape_html(host.cpu), host.cores, escape_html(features),
                        static_cast<double>(host.memory) / 1e9, escape_html(host.kernel), host.load,
                        escape_html(report_.config.video), report_.hashes.video,
                        escape_html(report_.config.model.string()), report_.hashes.model,
                        escape_html(report_.version)),
            "wide");
  }

  const Report& report_;
  std::string html_;
};

}  // namespace

std::string to_html(const Report& report) { return Page(report).write(); }

}  // namespace fovea::bench
