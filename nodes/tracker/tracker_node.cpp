// Detections in, tracks out: `<camera>/detections` -> `<camera>/tracks` for every camera.
#include <memory>
#include <string>

#include "nodes/runtime/stages/stage_node.hpp"
#include "nodes/tracker/iou_tracker.hpp"

namespace fovea {
namespace {

class TrackerStage final : public Stage<msgs::Detection2DArray, msgs::Track2DArray> {
 public:
  // The count of tracks is in the metrics page, which outlives the process: a successor gives no
  // number twice.
  TrackerStage(const TrackerOptions& options, Counter& tracks)
      : tracker_(options, tracks.load()), tracks_(tracks) {}

  Result<> process(const StageIn<msgs::Detection2DArray>& in,
                   StageOut<msgs::Track2DArray>& out) override {
    tracker_.update(in.message.header.seq, in.message, out.message);
    tracks_ = tracker_.last_id();
    return {};
  }

 private:
  IouTracker tracker_;
  Counter& tracks_;
};

class TrackerNode final : public StageNode<msgs::Detection2DArray, msgs::Track2DArray> {
 public:
  TrackerNode()
      : StageNode("tracker", "Gives detections identities that last from frame to frame",
                  {.input = "detections",
                   .output = "tracks",
                   .latencies = {{"latency_us", StageLatency::Since::kCaptured}, {"tracker_us"}}}) {
  }

  void declare_stage_parameters(ParameterSet& p) override {
    p.add("iou_threshold", &iou_threshold_,
          "Overlap from which on a detection can continue a track of its class", Range{0.01, 1});
    p.add("max_missed", &max_missed_, "Frames that a track outlives without a detection",
          Range{0, 10000}, "frames");
    p.add("min_hits", &min_hits_, "Frames that an object must be seen in before it is published",
          Range{1, 10000}, "frames");
  }

  Result<std::unique_ptr<Stage>> make_stage(const std::string& camera) override {
    return std::make_unique<TrackerStage>(
        TrackerOptions{.iou_threshold = static_cast<float>(iou_threshold_),
                       .max_missed = max_missed_,
                       .min_hits = min_hits_},
        metrics().counter("tracks", camera));
  }

 private:
  double iou_threshold_ = 0.3;
  std::uint32_t max_missed_ = 10;
  std::uint32_t min_hits_ = 1;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<TrackerNode>(); }

}  // namespace fovea
