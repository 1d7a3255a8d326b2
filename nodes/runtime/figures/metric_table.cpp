#include "nodes/runtime/figures/metric_table.hpp"

#include <algorithm>
#include <array>

namespace fovea {
namespace {

using enum MetricKind;

constexpr std::array kMetrics{
    // The ledger, per camera.
    MetricInfo{"frames_in", kCounter, "", "", "Frames that a stage took in"},
    MetricInfo{"frames_out", kCounter, "", "", "Frames that left a stage"},
    MetricInfo{"frames_dropped", kCounter, "", "reason", "Frames that ended in a stage"},
    MetricInfo{"restart_gaps", kCounter, "", "", "Restarts of a stage that cost a camera frames"},
    MetricInfo{"restart_gap_frames", kCounter, "", "", "Frames lost because a stage was away"},
    MetricInfo{"restart_gap_ms", kCounter, "ms", "", "Time without a frame around restarts"},
    MetricInfo{"last_frame_ns", kGauge, "ns", "", "When the last frame came, CLOCK_MONOTONIC"},
    MetricInfo{"topic_base", kInternal, "", "", ""},
    MetricInfo{"topic_reads", kGauge, "", "topic", "1 for a topic that a stage reads"},
    MetricInfo{"topic_writes", kGauge, "", "topic", "1 for a topic that a stage writes"},
    // Every node.
    MetricInfo{"finished", kGauge, "", "", "1 once the node ended because its work was done"},
    MetricInfo{"bytes_written", kCounter, "bytes", "", "Pixels and tensors written into slots"},
    MetricInfo{"bytes_copied", kCounter, "bytes", "", "Pixels and tensors copied beyond that"},
    // Cameras.
    MetricInfo{"source_state", kGauge, "", "",
               "0 reconnecting, 1 connected, 2 stalled, 3 ended, 4 failed"},
    MetricInfo{"source_reconnects", kCounter, "", "", "Attempts to open the source again"},
    MetricInfo{"source_stalls", kCounter, "", "", "Times that the source fell silent"},
    MetricInfo{"deadlines_skipped", kCounter, "", "", "Frames that a late player gave up"},
    // Latencies.
    MetricInfo{"preprocess_us", kHistogram, "us", "", "From capture to the network's input"},
    MetricInfo{"detector_us", kHistogram, "us", "", "From the network's input to raw maps"},
    MetricInfo{"postprocess_us", kHistogram, "us", "", "From raw maps to published detections"},
    MetricInfo{"tracker_us", kHistogram, "us", "", "From published detections to tracks"},
    MetricInfo{"latency_us", kHistogram, "us", "", "From capture to what the stage publishes"},
    // The detector.
    MetricInfo{"engine_us", kHistogram, "us", "", "One inference, of a whole batch"},
    MetricInfo{"batches", kCounter, "", "size", "Inferences by the number of their frames"},
    MetricInfo{"engine_info", kGauge, "", "engine", "1 for the engine that serves"},
    MetricInfo{"engine_swaps", kCounter, "", "", "Engines that took over from another"},
    MetricInfo{"plan_hit", kCounter, "", "", "Engines that came from the cache"},
    MetricInfo{"plan_built", kCounter, "", "", "Engines that were built"},
    MetricInfo{"plan_build_ms", kGauge, "ms", "", "How long the serving engine took to build"},
    MetricInfo{"build_progress_pct", kGauge, "percent", "", "Progress of the build beside"},
    MetricInfo{"build_eta_s", kGauge, "s", "", "Time that the build beside still takes"},
    // Postprocess and tracker.
    MetricInfo{"detections", kCounter, "", "class", "Detections by class"},
    MetricInfo{"frames_not_finite", kCounter, "", "", "Frames with NaN or infinity in the maps"},
    MetricInfo{"tracks", kCounter, "", "", "Objects that were given an id"},
    MetricInfo{"zone_tracks", kGauge, "", "zone/class", "Tracks inside a zone, now"},
    MetricInfo{"line_crossings", kCounter, "", "line/direction/class",
               "Tracks that crossed a line"},
};

}  // namespace

std::span<const MetricInfo> all_metrics() { return kMetrics; }

const MetricInfo* find_metric(std::string_view name) {
  const auto found = std::find_if(kMetrics.begin(), kMetrics.end(),
                                  [&](const MetricInfo& metric) { return metric.name == name; });
  return found == kMetrics.end() ? nullptr : found;
}

}  // namespace fovea
