#include "launch/looking/table.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"

namespace fovea::launch {
namespace {

constexpr std::int64_t kRateWindow = 3'000'000'000;

using Row = std::vector<std::string>;

// Columns as wide as their widest cell, two blanks between them; the last is not padded.
std::vector<std::string> align(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::vector<std::string> lines;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i + 1 < row.size(); ++i)
      line += fmt::format("{:<{}}  ", row[i], widths[i]);
    if (!row.empty()) line += row.back();
    lines.push_back(line.substr(0, line.find_last_not_of(' ') + 1));
  }
  return lines;
}

std::string milliseconds(const LatencyView& latency, double value) {
  return latency.count == 0 ? "-" : fmt::format("{:.1f}", value);
}

std::string describe_detector(const DetectorView& detector) {
  std::vector<std::string> parts;
  if (!detector.provider.empty()) parts.push_back(detector.provider + "/" + detector.precision);
  if (detector.plan == "hit") parts.emplace_back("plan from cache");
  if (detector.plan == "built")
    parts.push_back(fmt::format("plan built in {:.1f} s", detector.build_seconds));
  if (detector.engine.count > 0) {
    parts.push_back(
        fmt::format("engine {:.1f}/{:.1f} ms", detector.engine.p50_ms, detector.engine.p99_ms));
  }
  if (!detector.batch_sizes.empty()) {
    std::vector<std::string> sizes;
    for (const auto& [size, count] : detector.batch_sizes)
      sizes.push_back(fmt::format("{}x{}", count, size));
    parts.push_back(fmt::format("batches {}", fmt::join(sizes, " ")));
  }
  if (!detector.status.empty()) parts.push_back(detector.status);
  return fmt::format("{}  {}", detector.name, fmt::join(parts, "  "));
}

void append_restarts(std::vector<std::string>& lines, const std::vector<NodeReport>& nodes) {
  std::vector<std::string> parts;
  for (const NodeReport& node : nodes) {
    if (node.restarts > 0) parts.push_back(fmt::format("{} {}", node.name, node.restarts));
  }
  if (!parts.empty()) lines.push_back(fmt::format("restarts  {}", fmt::join(parts, ", ")));
}

}  // namespace

void RateMeter::add(const Snapshot& snapshot) {
  Point point{snapshot.taken_ns, {}};
  for (const CameraView& camera : snapshot.cameras) {
    point.frames[camera.name] = {camera.frames.captured, camera.frames.delivered};
  }
  points_.push_back(std::move(point));
  while (points_.size() > 2 && points_.back().taken_ns - points_[1].taken_ns >= kRateWindow) {
    points_.pop_front();
  }
}

FrameRates RateMeter::rates(const std::string& camera) const {
  if (points_.size() < 2) return {};
  const auto newest = points_.back().frames.find(camera);
  const auto oldest = points_.front().frames.find(camera);
  if (newest == points_.back().frames.end()) return {};
  const auto before = oldest == points_.front().frames.end()
                          ? std::pair<std::uint64_t, std::uint64_t>{}
                          : oldest->second;
  const double seconds =
      static_cast<double>(points_.back().taken_ns - points_.front().taken_ns) / 1e9;
  const auto rate = [&](std::uint64_t now, std::uint64_t then) {
    return now > then && seconds > 0 ? static_cast<double>(now - then) / seconds : 0.0;
  };
  return {rate(newest->second.first, before.first), rate(newest->second.second, before.second)};
}

std::string describe_drops(const FrameAccount& frames) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < kDropReasons; ++i) {
    if (frames.drops[i] == 0) continue;
    parts.push_back(fmt::format("{} {}", to_string(static_cast<DropReason>(i)), frames.drops[i]));
  }
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<std::string> live_table(const Snapshot& snapshot, const RateMeter& meter,
                                    const std::vector<NodeReport>& nodes) {
  std::vector<Row> rows{{"camera", "source", "fps in", "fps out", "p50 ms", "p99 ms", "dropped"}};
  for (const CameraView& camera : snapshot.cameras) {
    const FrameRates rates = meter.rates(camera.name);
    rows.push_back(
        {camera.name, camera.source, fmt::format("{:.1f}", rates.in),
         fmt::format("{:.1f}", rates.out), milliseconds(camera.latency, camera.latency.p50_ms),
         milliseconds(camera.latency, camera.latency.p99_ms), describe_drops(camera.frames)});
  }
  std::vector<std::string> lines;
  if (!snapshot.cameras.empty()) lines = align(rows);
  for (const DetectorView& detector : snapshot.detectors)
    lines.push_back(describe_detector(detector));
  // Whoever is not simply active, and says why if it can. A detector's own words stand in its line
  // above.
  for (const NodeReport& node : nodes) {
    const auto view = std::find_if(snapshot.nodes.begin(), snapshot.nodes.end(),
                                   [&](const NodeView& other) { return other.name == node.name; });
    const bool speaks = view != snapshot.nodes.end() && view->type != "detector" && view->alive;
    const bool troubled = speaks && view->level != msgs::DiagnosticLevel::kOk;
    if (node.phase == Phase::kActive && !troubled) continue;
    const std::string words = speaks && !view->status.empty() ? ": " + view->status : "";
    lines.push_back(fmt::format("{}  {}{}", node.name, to_string(node.phase), words));
  }
  append_restarts(lines, nodes);
  return lines;
}

std::vector<std::string> plain_lines(const Snapshot& snapshot, const RateMeter& meter) {
  std::vector<std::string> lines;
  for (const CameraView& camera : snapshot.cameras) {
    const FrameRates rates = meter.rates(camera.name);
    lines.push_back(fmt::format("{} {} {:.1f} -> {:.1f} fps, {} dropped, {}/{} ms", camera.name,
                                camera.source, rates.in, rates.out, camera.frames.dropped(),
                                milliseconds(camera.latency, camera.latency.p50_ms),
                                milliseconds(camera.latency, camera.latency.p99_ms)));
  }
  return lines;
}

std::vector<std::string> final_summary(const Snapshot& snapshot,
                                       const std::vector<NodeReport>& nodes) {
  std::vector<Row> rows{
      {"camera", "captured", "delivered", "p50 ms", "p99 ms", "dropped", "detections"}};
  for (const CameraView& camera : snapshot.cameras) {
    std::vector<std::pair<std::string, std::uint64_t>> classes(camera.detections.begin(),
                                                               camera.detections.end());
    std::stable_sort(classes.begin(), classes.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    std::vector<std::string> found;
    for (const auto& [name, count] : classes)
      found.push_back(fmt::format("{} {}", shown(name), count));
    rows.push_back({camera.name, std::to_string(camera.frames.captured),
                    std::to_string(camera.frames.delivered),
                    milliseconds(camera.latency, camera.latency.p50_ms),
                    milliseconds(camera.latency, camera.latency.p99_ms),
                    describe_drops(camera.frames),
                    found.empty() ? "none" : fmt::format("{}", fmt::join(found, ", "))});
  }
  std::vector<std::string> lines;
  if (!snapshot.cameras.empty()) lines = align(rows);
  for (DetectorView detector : snapshot.detectors) {
    detector.status.clear();
    lines.push_back(describe_detector(detector));
  }
  lines.push_back(fmt::format("copied    {:.0f} bytes a frame", snapshot.bytes_copied_per_frame()));
  append_restarts(lines, nodes);
  for (const CameraView& camera : snapshot.cameras) {
    for (const auto& [node, gap] : camera.gaps) {
      lines.push_back(fmt::format("{}: {} was away {}x, {:.2f} s without a frame, {} frames lost",
                                  camera.name, node, gap.count,
                                  static_cast<double>(gap.milliseconds) / 1e3, gap.frames));
    }
  }
  for (const CameraView& camera : snapshot.cameras) {
    if (camera.frames.balanced()) continue;
    lines.push_back(
        fmt::format("{}: the account does not add up ({} overcounted); please report this",
                    camera.name, camera.frames.overcounted));
  }
  return lines;
}

std::vector<std::string> node_table(const std::vector<NodeView>& nodes) {
  std::vector<Row> rows{{"node", "type", "pid", "state", "level", "restarts", "status"}};
  for (const NodeView& node : nodes) {
    rows.push_back({node.name, node.type, std::to_string(node.pid),
                    node.alive ? std::string(msgs::enum_name(node.state)) : "dead",
                    std::string(msgs::enum_name(node.level)), std::to_string(node.restarts()),
                    node.status});
  }
  return align(rows);
}

std::vector<std::string> topic_table(const std::vector<TopicView>& topics) {
  std::vector<Row> rows{{"topic", "publisher", "type"}};
  for (const TopicView& topic : topics) {
    rows.push_back(
        {topic.name, topic.alive ? "alive" : "dead", topic.type.empty() ? "-" : topic.type});
  }
  return align(rows);
}

}  // namespace fovea::launch
