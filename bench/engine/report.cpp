#include "bench/engine/report.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace fovea::bench {
namespace {

using Json = nlohmann::ordered_json;

Json rounded(double value) { return Json::parse(fmt::format("{:.4g}", value)); }

Json to_json(const Spread& spread) {
  return {{"median", rounded(spread.median)},
          {"low", rounded(spread.low)},
          {"high", rounded(spread.high)}};
}
Json to_json(const std::optional<Spread>& spread) {
  return spread ? to_json(*spread) : Json(nullptr);
}

std::string ratio(const std::optional<Spread>& spread) {
  if (!spread) return "-";
  return fmt::format("{:.2f} ({:.2f}..{:.2f})", spread->median, spread->low, spread->high);
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](std::size_t part) { return values[(values.size() - 1) * part / 4]; };
  return {at(2), at(1), at(3)};
}

std::string to_table(const Report& report) {
  std::string text = fmt::format(
      "{}, {}, {} CPUs, kernels {}\n{}: medians of {} rounds of {} runs; ratios by round, with "
      "quartiles\n",
      report.date, report.cpu, report.cpus, report.isa, report.model, report.rounds, report.runs);
  int threads = 0;
  for (const Figures& row : report.figures) {
    if (row.threads != threads) {
      threads = row.threads;
      text += fmt::format("\n{:30} {:28} {:>8} {:>20} {:>20} {:>20} {:>9} {:>8} {:>9} {:>20}\n",
                          fmt::format("threads {}", threads), "", "ms", "x oneDNN f32",
                          "x ONNX Runtime", "x OpenVINO", "first ms", "peak MB", "busy ms",
                          "busy / quiet");
    }
    text += fmt::format(
        "{:30} {:28} {:8.2f} {:>20} {:>20} {:>20} {:9.0f} {:8.1f} {:>9} {:>20}\n", row.name,
        row.scope, row.ms.median, ratio(row.over_onednn), ratio(row.over_onnxruntime),
        ratio(row.over_openvino), row.first_ms, row.peak_rss_mb,
        row.busy_ms ? fmt::format("{:.1f}", row.busy_ms->median) : "-", ratio(row.slow_down));
  }
  for (const std::string& notice : report.notices) text += fmt::format("\nnot run: {}", notice);
  return text + "\n";
}

std::string to_json(const Report& report) {
  Json json = {{"date", report.date},   {"cpu", report.cpu},        {"cpus", report.cpus},
               {"kernels", report.isa}, {"model", report.model},    {"rounds", report.rounds},
               {"runs", report.runs},   {"not_run", report.notices}};
  for (const Figures& row : report.figures) {
    json["engines"].push_back({{"name", row.name},
                               {"scope", row.scope},
                               {"threads", row.threads},
                               {"ms", to_json(row.ms)},
                               {"over_onednn_f32", to_json(row.over_onednn)},
                               {"over_onnxruntime_f32", to_json(row.over_onnxruntime)},
                               {"over_openvino", to_json(row.over_openvino)},
                               {"load_to_first_inference_ms", rounded(row.first_ms)},
                               {"peak_rss_mb", rounded(row.peak_rss_mb)},
                               {"busy_ms", to_json(row.busy_ms)},
                               {"busy_over_quiet", to_json(row.slow_down)}});
  }
  return json.dump(2) + "\n";
}

std::string to_summary(const std::vector<std::string>& reports) {
  const auto number = [](const Json& spread) {
    return spread.is_null() ? std::string("-")
                            : fmt::format("{:.2f}", spread["median"].get<double>());
  };
  std::string text = fmt::format("{:24} {:24} {:>7} {:10} {:>8} {:>12} {:>15}\n", "model", "up to",
                                 "threads", "engine", "ms", "x OpenVINO", "x ONNX Runtime");
  for (const std::string& report : reports) {
    const Json json = Json::parse(report);
    const std::string kernels = json["kernels"];
    for (const Json& row : json["engines"]) {
      const std::string name = row["name"];
      if (!name.starts_with("own ")) continue;
      text += fmt::format("{:24} {:24} {:7} {:10} {:8.2f} {:>12} {:>15}\n",
                          json["model"].get<std::string>(),
                          kernels.substr(kernels.find_last_of(' ') + 1), row["threads"].get<int>(),
                          name, row["ms"]["median"].get<double>(), number(row["over_openvino"]),
                          number(row["over_onnxruntime_f32"]));
    }
  }
  return text + "\n";
}

}  // namespace fovea::bench
