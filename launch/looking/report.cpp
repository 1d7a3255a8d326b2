#include "launch/looking/report.hpp"

#include <nlohmann/json.hpp>

namespace fovea::launch {
namespace {

using Json = nlohmann::ordered_json;

Json quantiles(const LatencyView& latency) {
  if (latency.count == 0) return {{"p50", nullptr}, {"p99", nullptr}};
  return {{"p50", latency.p50_ms}, {"p99", latency.p99_ms}};
}

Json camera_json(const CameraView& camera) {
  Json drops = Json::object();
  for (std::size_t i = 0; i < kDropReasons; ++i) {
    drops[std::string(to_string(static_cast<DropReason>(i)))] = camera.frames.drops[i];
  }
  Json gaps = Json::object();
  for (const auto& [node, gap] : camera.gaps) {
    gaps[node] = {{"count", gap.count},
                  {"frames", gap.frames},
                  {"seconds", static_cast<double>(gap.milliseconds) / 1e3}};
  }
  return {{"stages", camera.stages},
          {"captured", camera.frames.captured},
          {"delivered", camera.frames.delivered},
          {"drops", drops},
          {"restart_gaps", gaps},
          {"detections", Json(camera.detections)},
          {"latency_ms", quantiles(camera.latency)}};
}

Json detector_json(const DetectorView& detector) {
  Json batches = Json::object();
  for (const auto& [size, count] : detector.batch_sizes) batches[std::to_string(size)] = count;
  return {{"name", detector.name},
          {"plan", detector.plan},
          {"build_seconds", detector.build_seconds},
          {"provider", detector.provider},
          {"precision", detector.precision},
          {"engine_ms", quantiles(detector.engine)},
          {"batch_sizes", batches}};
}

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string report_json(const Snapshot& snapshot, const std::vector<NodeReport>& nodes,
                        std::uint64_t dropped_lines) {
  Json cameras = Json::object();
  for (const CameraView& camera : snapshot.cameras) cameras[camera.name] = camera_json(camera);
  Json restarts = Json::object();
  for (const NodeReport& node : nodes) restarts[node.name] = node.restarts;
  Json report{{"cameras", cameras}, {"detector", nullptr}};
  if (!snapshot.detectors.empty()) report["detector"] = detector_json(snapshot.detectors.front());
  report["bytes_copied_per_frame"] = snapshot.bytes_copied_per_frame();
  report["restarts"] = restarts;
  report["loose_ends"] = snapshot.loose_ends;
  report["dropped_log_lines"] = dropped_lines;
  return dump(report);
}

std::string nodes_json(const std::vector<NodeView>& nodes) {
  Json list = Json::array();
  for (const NodeView& node : nodes) {
    list.push_back({{"name", node.name},
                    {"type", node.type},
                    {"pid", node.pid},
                    {"alive", node.alive},
                    {"state", msgs::enum_name(node.state)},
                    {"level", msgs::enum_name(node.level)},
                    {"restarts", node.restarts()},
                    {"status", node.status}});
  }
  return dump(list);
}

std::string topics_json(const std::vector<TopicView>& topics) {
  Json list = Json::array();
  for (const TopicView& topic : topics) {
    list.push_back({{"name", topic.name},
                    {"alive", topic.alive},
                    {"type", topic.type.empty() ? Json(nullptr) : Json(topic.type)}});
  }
  return dump(list);
}

}  // namespace fovea::launch
