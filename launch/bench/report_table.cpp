// Report for a terminal.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/bench/report.hpp"

namespace fovea::bench {
namespace {

// "12.34 ±0.56" where there are several runs.
std::string with_confidence(const std::vector<double>& runs, int digits) {
  const double centre = mean(runs);
  if (runs.size() < 2) return fmt::format("{:.{}f}", centre, digits);
  return fmt::format("{:.{}f} ±{:.{}f}", centre, digits, confidence_interval(runs).high - centre,
                     digits);
}

std::string cell(const Report& report, const std::string& name, int digits) {
  const Figure* figure = report.find(name);
  return figure == nullptr ? "-" : with_confidence(figure->runs, digits);
}

// fmt counts bytes; ± has two. What is too long keeps a blank before it.
std::string pad(const std::string& text, std::size_t width) {
  const auto seen = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
  return std::string(seen < width ? width - seen : 1, ' ') + text;
}

std::string quantile_row(const Report& report, std::string_view label, const std::string& prefix) {
  std::string row = fmt::format("{:<16}", label);
  for (const auto& [name, q] : kQuantiles)
    row += pad(cell(report, fmt::format("{}.{}", prefix, name), 2), 14);
  return row + pad(cell(report, prefix + ".mean", 2), 14) + "\n";
}

std::string drops_text(const Report& report) {
  std::vector<std::string> parts;
  for (const auto& [stage, drops] : report.drops) {
    for (std::size_t i = 0; i < kDropReasons; ++i) {
      if (drops[i] > 0)
        parts.push_back(
            fmt::format("{} {} {}", stage, to_string(static_cast<DropReason>(i)), drops[i]));
    }
  }
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ", "));
}

std::string rate_text(const BenchConfig& config) {
  return config.rate == kMaxRate ? "as fast as possible" : fmt::format("{:g} Hz each", config.rate);
}

void append_run(std::string& text, const Report& report) {
  text += fmt::format("{:<16}", "ms");
  for (const auto& [name, q] : kQuantiles) text += fmt::format("{:>14}", name);
  text += fmt::format("{:>14}\n", "mean");
  text += quantile_row(report, "end to end", "latency_ms");
  text += quantile_row(report, "without engine", "overhead_ms");
  for (const Spread& piece : report.pieces)
    text += quantile_row(report, "  " + piece.name, "piece_ms." + piece.name);
  text += quantile_row(report, "jitter", "jitter_ms");
  text += fmt::format("pieces add up to {:.2f} % of the latency\n\n", 100 * report.piece_sum_ratio);

  std::uint64_t offered = 0;
  std::uint64_t delivered = 0;
  for (const auto& book : report.books) {
    for (const CameraCount& camera : book) {
      offered += camera.offered;
      delivered += camera.delivered;
    }
  }
  text += fmt::format("frames      {} offered, {} delivered, {} % lost, {} 1/s\n", offered,
                      delivered, cell(report, "loss_percent", 2), cell(report, "fps", 1));
  text += fmt::format("dropped     {}; the books balance for every camera\n", drops_text(report));
  std::vector<std::string> batches;
  for (const auto& [size, number] : report.batches)
    batches.push_back(fmt::format("{}x{}", number, size));
  text += fmt::format("batches     {}\n", fmt::join(batches, " "));
  text += fmt::format("copied      {} bytes a frame beyond each stage's one write ({} written)\n",
                      cell(report, "bytes_copied_per_frame", 0),
                      cell(report, "bytes_written_per_frame", 0));
  text += fmt::format("CPU         {} ms a frame, machine {} % busy\n",
                      cell(report, "cpu_ms_per_frame", 2), cell(report, "cpu_percent.machine", 0));
  for (const Figure& figure : report.figures) {
    constexpr std::string_view kPrefix = "cpu_percent.";
    if (!figure.name.starts_with(kPrefix) || figure.name == "cpu_percent.machine") continue;
    const std::string process = figure.name.substr(kPrefix.size());
    text += fmt::format("  {:<12}{} %  {} MB\n", process, pad(with_confidence(figure.runs, 1), 12),
                        pad(cell(report, "rss_mb." + process, 0), 10));
  }
}

std::string ratio_text(double value, double base) {
  return base > 0 ? fmt::format("{:.3f}", value / base) : "-";
}

void append_decay(std::string& text, const Report& report) {
  if (report.slice_s < 10) return;
  text += fmt::format("\n{:>14}{:>9}{:>10}{:>10}{:>8}{:>6}\n", "from second", "fps", "p50 ms",
                      "p99 ms", "CPU %", "°C");
  const auto row = [&](const std::string& label, const Slice& slice) {
    text += fmt::format("{:>14}{:>9.1f}{:>10.2f}{:>10.2f}{:>8.0f}{:>6}\n", label, slice.fps,
                        slice.p50_ms, slice.p99_ms, slice.cpu_percent,
                        slice.hottest_c > 0 ? fmt::format("{:.0f}", slice.hottest_c) : "-");
  };
  for (const Slice& slice : report.slices.front()) row(fmt::format("{:.0f}", slice.at_s), slice);
  if (report.sustained.empty()) return;
  const auto& [first, last] = report.sustained.front();
  row("first minute", first);
  row("last minute", last);
  text += fmt::format("{:>14}{:>9}{:>10}{:>10}\n", "last : first", ratio_text(last.fps, first.fps),
                      ratio_text(last.p50_ms, first.p50_ms), ratio_text(last.p99_ms, first.p99_ms));
}

void append_peak(std::string& text, const Peak& peak) {
  text += fmt::format(
      "\npeak with less than {:g} % lost: {} Hz of each camera, {} 1/s, {} search{}\n",
      100 * peak.limit, with_confidence(peak.rate, 1), with_confidence(peak.total_fps, 1),
      peak.rate.size(), peak.rate.size() == 1 ? "" : "es");
  for (std::size_t i = 0; i < peak.steps.size(); ++i) {
    for (const PeakStep& step : peak.steps[i])
      text += fmt::format("  {:>2}  {:8.2f} Hz  {:6.2f} % lost  {}\n", i + 1, step.rate,
                          100 * step.loss, step.kept_up ? "kept up" : "too fast");
  }
}

void append_rivals(std::string& text, const std::vector<Rival>& rivals) {
  text += fmt::format("\n{:<18}{:>14}{:>10}{:>10}{:>8}{:>16}\n", "rival", "1/s", "p50 ms", "p99 ms",
                      "CPU %", "ours/it");
  for (const Rival& rival : rivals) {
    if (!rival.missing.empty()) {
      text += fmt::format("{:<18}{}\n", rival.name, rival.missing);
      continue;
    }
    text +=
        fmt::format("{:<18}{}{:>10.2f}{:>10.2f}{:>8.0f}{}x\n", rival.name,
                    pad(with_confidence(rival.fps, 1), 14), mean(rival.p50_ms), mean(rival.p99_ms),
                    mean(rival.cpu_percent), pad(with_confidence(rival.ratio, 2), 15));
  }
}

void append_sweep(std::string& text, const std::vector<SweepPoint>& points) {
  text += fmt::format("\n{:<8}{:<11}{:<28}{:>6}{:>14}{:>14}{:>14}{:>14}{:>14}{:>8}{:>7}  {}\n",
                      "cameras", "precision", "model", "batch", "1/s", "p50 ms", "p99 ms",
                      "CPU ms/frame", "peak 1/s", "lost %", "mAP", "front");
  bool has_front = false;
  for (const SweepPoint& point : points) {
    has_front = has_front || point.on_front;
    text += fmt::format(
        "{:<8}{:<11}{:<28}{:>6}{}{}{}{}{}{:>8.2f}{:>7}  {}\n", point.cameras, point.precision,
        point.model, point.batch, pad(with_confidence(point.fps, 1), 14),
        pad(with_confidence(point.p50_ms, 2), 14), pad(with_confidence(point.p99_ms, 2), 14),
        pad(with_confidence(point.cpu_ms_per_frame, 2), 14),
        pad(point.peak_fps.empty() ? "-" : with_confidence(point.peak_fps, 1), 14),
        100 * point.loss, point.map_50_95 ? fmt::format("{:.1f}", *point.map_50_95) : "-",
        point.on_front ? "*" : "");
  }
  if (!has_front) text += "no front: at a fixed rate nothing is faster; use --peak or --rate max\n";
}

}  // namespace

std::string to_table(const Report& report) {
  std::string text;
  if (!report.figures.empty()) {
    text +=
        fmt::format("{} cameras, {}, {}x{}, {} ({}), {} run{} of {:g} s\n\n", report.config.cameras,
                    rate_text(report.config), report.config.width, report.config.height,
                    report.config.model.filename().string(), report.engine, report.books.size(),
                    report.books.size() == 1 ? "" : "s", report.config.duration_s);
    append_run(text, report);
    append_decay(text, report);
  }
  if (report.peak) append_peak(text, *report.peak);
  if (!report.rivals.empty()) append_rivals(text, report.rivals);
  if (!report.faults.empty()) {
    text += fmt::format("\n{:<10}{:>8}{:>14}{:>8}  {}\n", "fault", "at s", "recovered s", "lost",
                        "what");
    for (const Fault& fault : report.faults)
      text += fmt::format(
          "{:<10}{:>8.1f}{:>14}{:>8}  {}\n", fault.name, fault.at_s,
          fault.recovered_s < 0 ? std::string("never") : fmt::format("{:.2f}", fault.recovered_s),
          fault.lost, fault.detail);
  }
  if (!report.sweep.empty()) append_sweep(text, report.sweep);
  return text;
}

}  // namespace fovea::bench
