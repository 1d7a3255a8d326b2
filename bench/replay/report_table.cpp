// Report for a terminal.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bench/replay/report.hpp"

namespace fovea::bench {
namespace {

// "12.34 ±0.56" where there are several runs.
std::string with_confidence(const Figure& figure, int digits) {
  const Interval interval = figure.interval();
  if (figure.runs.size() < 2) return fmt::format("{:.{}f}", figure.mean(), digits);
  return fmt::format("{:.{}f} ±{:.{}f}", figure.mean(), digits, interval.high - figure.mean(),
                     digits);
}

std::string cell(const Report& report, const std::string& name, int digits) {
  const Figure* figure = report.find(name);
  return figure == nullptr ? "-" : with_confidence(*figure, digits);
}

// fmt counts bytes; ± has two.
std::string pad(const std::string& text, std::size_t width) {
  const auto seen = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
  return std::string(seen < width ? width - seen : 0, ' ') + text;
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
  for (const std::string_view piece : kPieceNames)
    text += quantile_row(report, fmt::format("  {}", piece), fmt::format("piece_ms.{}", piece));
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
    text += fmt::format("  {:<12}{} %  {} MB\n", process, pad(with_confidence(figure, 1), 12),
                        pad(cell(report, "rss_mb." + process, 0), 10));
  }
}

void append_decay(std::string& text, const Report& report) {
  if (report.slice_s < 10) return;
  text += "\nfrom second      fps    p50 ms    p99 ms   CPU %    °C\n";
  for (const Slice& slice : report.slices.front())
    text += fmt::format("{:>11.0f}{:>9.1f}{:>10.2f}{:>10.2f}{:>8.0f}{:>6}\n", slice.at_s, slice.fps,
                        slice.p50_ms, slice.p99_ms, slice.cpu_percent,
                        slice.hottest_c > 0 ? fmt::format("{:.0f}", slice.hottest_c) : "-");
}

}  // namespace

std::string to_table(const Report& report) {
  std::string text;
  if (!report.figures.empty()) {
    text += fmt::format("{} cameras, {}, {}x{}, {} ({}), {} runs of {:g} s\n\n",
                        report.config.cameras, rate_text(report.config), report.config.width,
                        report.config.height, report.config.model.filename().string(),
                        report.engine, report.books.size(), report.config.duration_s);
    append_run(text, report);
    append_decay(text, report);
  }
  if (report.peak) {
    text += fmt::format("\npeak with less than {:g} % lost: {:.1f} Hz of each camera, {:.1f} 1/s\n",
                        100 * report.peak->limit, report.peak->rate, report.peak->total_fps);
    for (const PeakStep& step : report.peak->steps)
      text += fmt::format("  {:8.2f} Hz  {:6.2f} % lost  {}\n", step.rate, 100 * step.loss,
                          step.kept_up ? "kept up" : "too fast");
  }
  if (!report.rivals.empty()) {
    text += fmt::format("\n{:<18}{:>8}{:>10}{:>10}{:>8}{:>9}\n", "rival", "1/s", "p50 ms", "p99 ms",
                        "CPU %", "ours/it");
    for (const Rival& rival : report.rivals) {
      text +=
          rival.missing.empty()
              ? fmt::format("{:<18}{:>8.1f}{:>10.2f}{:>10.2f}{:>8.0f}{:>8.2f}x\n", rival.name,
                            rival.fps, rival.p50_ms, rival.p99_ms, rival.cpu_percent, rival.ratio)
              : fmt::format("{:<18}{}\n", rival.name, rival.missing);
    }
  }
  if (!report.faults.empty()) {
    text += fmt::format("\n{:<10}{:>8}{:>14}{:>8}  {}\n", "fault", "at s", "recovered s", "lost",
                        "what");
    for (const Fault& fault : report.faults)
      text += fmt::format(
          "{:<10}{:>8.1f}{:>14}{:>8}  {}\n", fault.name, fault.at_s,
          fault.recovered_s < 0 ? std::string("never") : fmt::format("{:.2f}", fault.recovered_s),
          fault.lost, fault.detail);
  }
  if (!report.sweep.empty()) {
    text += fmt::format("\n{:<8}{:<11}{:<28}{:>6}{:>9}{:>9}{:>9}{:>14}{:>8}{:>7}  {}\n", "cameras",
                        "precision", "model", "batch", "1/s", "p50 ms", "p99 ms", "CPU ms/frame",
                        "lost %", "mAP", "front");
    for (const SweepPoint& point : report.sweep)
      text +=
          fmt::format("{:<8}{:<11}{:<28}{:>6}{:>9.1f}{:>9.2f}{:>9.2f}{:>14.2f}{:>8.2f}{:>7}  {}\n",
                      point.cameras, point.precision, point.model, point.batch, point.fps,
                      point.p50_ms, point.p99_ms, point.cpu_ms_per_frame, 100 * point.loss,
                      point.map_50_95 ? fmt::format("{:.1f}", *point.map_50_95) : "-",
                      point.on_front ? "*" : "");
  }
  return text;
}

}  // namespace fovea::bench
