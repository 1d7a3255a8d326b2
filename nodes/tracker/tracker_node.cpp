// Detections in, tracks out: `<camera>/detections` -> `<camera>/tracks` for every camera.
#include <memory>
#include <string>

#include "nodes/runtime/stages/stage_node.hpp"
#include "nodes/tracker/tracker_parameters.hpp"
#include "nodes/tracker/trackers.hpp"

namespace fovea {
namespace {

class TrackerStage final : public Stage<msgs::Detection2DArray, msgs::Track2DArray> {
 public:
  // The count of tracks is in the metrics page, which outlives the process: a successor gives no
  // number twice.
  TrackerStage(const TrackerKind& kind, const TrackerOptions& options, Counter& tracks)
      : tracker_(kind.make(options, tracks.load())), tracks_(tracks) {}

  Result<> process(const StageIn<msgs::Detection2DArray>& in,
                   StageOut<msgs::Track2DArray>& out) override {
    tracker_->update(in.message, out.message);
    tracks_ = tracker_->last_id();
    return {};
  }

 private:
  std::unique_ptr<Tracker> tracker_;
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

  void declare_stage_parameters(ParameterSet& p) override { parameters_.declare(p); }

  Result<> configure() override { return check(parameters_.options()); }

  Result<std::unique_ptr<Stage>> make_stage(const std::string& camera) override {
    return std::make_unique<TrackerStage>(tracker_kind(parameters_.tracker), parameters_.options(),
                                          metrics().counter("tracks", camera));
  }

 private:
  TrackerParameters parameters_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<TrackerNode>(); }

}  // namespace fovea
