#include "launch/snapshot.hpp"

#include <algorithm>
#include <array>
#include <memory>

#include "launch/values.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/runtime/metrics.hpp"

namespace fovea::launch {
namespace {

using Readers = std::vector<std::unique_ptr<MetricsReader>>;

// A frame's way through the node types.
constexpr std::array<std::string_view, 4> kChain{"camera", "preprocess", "detector", "postprocess"};
// The camera's `source_state` counter, by value.
constexpr std::array<std::string_view, 5> kSourceStates{"reconnecting", "connected", "stalled",
                                                        "ended", "failed"};

LatencyView latency_of(const Histogram* histogram) {
  if (histogram == nullptr || histogram->count() == 0) return {};
  return {histogram->count(), histogram->quantile(0.5) / 1e3, histogram->quantile(0.99) / 1e3};
}

// The node of this type that has the camera's ledger; null when there is none.
const MetricsReader* find_stage(const Readers& readers, std::string_view type,
                                const std::string& camera) {
  for (const auto& reader : readers) {
    if (reader->type() != type) continue;
    const std::vector<std::string> cameras = ledger_cameras(*reader);
    if (std::find(cameras.begin(), cameras.end(), camera) != cameras.end()) return reader.get();
  }
  return nullptr;
}

std::string source_of(const MetricsReader& camera, const std::string& name) {
  if (!camera.alive()) return "ended";
  if (camera.state() != msgs::LifecycleState::kActive)
    return std::string(msgs::enum_name(camera.state()));
  // Counted per camera or for the whole node.
  const std::uint64_t state =
      std::max(camera.value("source_state"), camera.value("source_state", name));
  return std::string(state < kSourceStates.size() ? kSourceStates[state] : "unknown");
}

CameraView view_camera(const Readers& readers, const MetricsReader& source, const std::string& name,
                       bool final) {
  CameraView view;
  view.name = name;
  view.source = source_of(source, name);
  // Last stage first: frames that move meanwhile must not look overcounted.
  std::vector<StageCounts> chain;
  for (auto type = kChain.rbegin(); type != kChain.rend(); ++type) {
    const MetricsReader* stage = find_stage(readers, *type, name);
    if (stage == nullptr) continue;
    chain.insert(chain.begin(), read_stage(*stage, name));
    const RestartGaps gaps = read_restart_gaps(*stage, name);
    if (gaps.count > 0 || gaps.frames > 0) view.gaps[stage->node()] = gaps;
  }
  view.frames = account(chain, final);
  if (const MetricsReader* sink = find_stage(readers, "postprocess", name)) {
    view.latency = latency_of(sink->histogram("latency_us", name));
    for (const MetricSample& sample : sink->counters()) {
      if (sample.name == "detections" && sample.camera == name && sample.value > 0)
        view.detections[sample.label] += sample.value;
    }
  }
  return view;
}

DetectorView view_detector(const MetricsReader& reader) {
  DetectorView view;
  view.name = reader.node();
  view.status = reader.status();
  view.engine = latency_of(reader.histogram("engine_us"));
  for (const MetricSample& sample : reader.counters()) {
    if (sample.value == 0) continue;
    if (sample.name == "engine_info") {
      const std::size_t slash = sample.label.find('/');
      view.provider = sample.label.substr(0, slash);
      view.precision = slash == std::string::npos ? "" : sample.label.substr(slash + 1);
    } else if (sample.name == "batches") {
      if (const auto size = to_number<std::uint32_t>(sample.label))
        view.batch_sizes[*size] += sample.value;
    } else if (sample.name == "plan_build_ms") {
      view.build_seconds = static_cast<double>(sample.value) / 1e3;
    }
  }
  if (reader.value("plan_hit") > 0) view.plan = "hit";
  if (reader.value("plan_built") > 0) view.plan = "built";
  return view;
}

}  // namespace

std::uint64_t Snapshot::in_flight() const {
  std::uint64_t sum = 0;
  for (const CameraView& camera : cameras) sum += camera.frames.in_flight;
  return sum;
}

bool Snapshot::sources_ended() const {
  return !cameras.empty() &&
         std::all_of(cameras.begin(), cameras.end(), [](const CameraView& camera) {
           return camera.source == "ended" || camera.source == "failed";
         });
}

bool Snapshot::any_source_failed() const {
  return std::any_of(cameras.begin(), cameras.end(),
                     [](const CameraView& camera) { return camera.source == "failed"; });
}

double Snapshot::bytes_copied_per_frame() const {
  std::uint64_t captured = 0;
  for (const CameraView& camera : cameras) captured += camera.frames.captured;
  return captured == 0 ? 0.0 : static_cast<double>(bytes_copied) / static_cast<double>(captured);
}

Snapshot take_snapshot(const Domain& domain, bool final) {
  Readers readers;
  for (const std::string& name : domain.list_nodes()) {
    if (auto reader = MetricsReader::open(domain, name)) readers.push_back(std::move(*reader));
  }
  Snapshot snapshot;
  snapshot.taken_ns = monotonic_ns();
  for (const auto& reader : readers) {
    snapshot.nodes.push_back({reader->node(), reader->type(), reader->status(), reader->alive(),
                              reader->pid(), reader->starts(), reader->state(), reader->level()});
    snapshot.bytes_copied += reader->value("bytes_copied");
    if (reader->type() == "detector") snapshot.detectors.push_back(view_detector(*reader));
    if (reader->type() != "camera") continue;
    for (const std::string& camera : ledger_cameras(*reader)) {
      snapshot.cameras.push_back(view_camera(readers, *reader, camera, final));
    }
  }
  return snapshot;
}

}  // namespace fovea::launch
