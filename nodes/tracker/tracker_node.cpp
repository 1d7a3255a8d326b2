// Detections in, tracks out: `<camera>/detections` -> `<camera>/tracks` for every camera, and how many are
// in zones and cross lines.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "msgs/model_info.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/stages/stage_node.hpp"
#include "nodes/tracker/region_counter.hpp"
#include "nodes/tracker/tracker_parameters.hpp"
#include "nodes/tracker/trackers.hpp"

namespace fovea {
namespace {

constexpr std::string_view kZoneTracks = "zone_tracks";

std::string_view to_string(Direction direction) {
  return direction == Direction::kToRight ? "to_right" : "to_left";
}

// What a RegionCounter finds, by class, on the page and in the log.
class RegionFigures {
 public:
  RegionFigures(Regions regions, MetricsPage& page, std::string camera)
      : counter_(std::move(regions)), page_(page), camera_(std::move(camera)) {
    // A predecessor's page goes on, but who was inside then is not inside now.
    const auto reader = MetricsReader::open(page.domain(), page.node());
    if (!reader) return;
    for (const MetricSample& sample : (*reader)->counters()) {
      if (sample.name == kZoneTracks && sample.camera == camera_) {
        page_.counter(kZoneTracks, camera_, sample.label) = 0;
      }
    }
  }

  void update(const msgs::Track2DArray& tracks) {
    if (counter_.zones().empty() && counter_.lines().empty()) return;
    counter_.update(tracks);
    for (auto& [name, figures] : by_class_) figures.inside.assign(counter_.zones().size(), 0);
    for (std::size_t z = 0; z < counter_.zones().size(); ++z) {
      for (const std::uint32_t t : counter_.inside(z)) ++of_class(tracks.tracks[t]).inside[z];
    }
    for (auto& [name, figures] : by_class_) {
      for (std::size_t z = 0; z < figures.inside.size(); ++z) {
        *figures.zone_tracks[z] = figures.inside[z];
      }
    }
    for (const Crossing& crossing : counter_.crossings()) {
      const msgs::Track2D& track = tracks.tracks[crossing.track];
      const std::string& line = counter_.lines()[crossing.line].name;
      const std::string_view direction = to_string(crossing.direction);
      ++counter("line_crossings", fmt::format("{}/{}/{}", line, direction, class_of(track)));
      log_debug("{}: track {} ({}) crosses {} {}", camera_, track.id, class_of(track), line,
                direction);
    }
  }

 private:
  struct ClassFigures {
    std::vector<std::uint64_t> inside;  // by zone
    std::vector<Counter*> zone_tracks;  // by zone
  };
  static constexpr std::size_t kMaxClasses = msgs::ModelInfo::kMaxClasses;

  std::string_view class_of(const msgs::Track2D& track) const { return track.class_name.view(); }

  Counter& counter(std::string_view name, const std::string& label) {
    return page_.counter(name, camera_, utf8_prefix(label, 255));
  }

  // Made when the class is first seen. No model has more of them than there is room for.
  ClassFigures& of_class(const msgs::Track2D& track) {
    const std::string_view name =
        by_class_.size() < kMaxClasses ? class_of(track) : std::string_view("other");
    const auto known = by_class_.find(class_of(track));
    if (known != by_class_.end()) return known->second;
    ClassFigures& made = by_class_[std::string(name)];
    made.inside.resize(counter_.zones().size());
    if (made.zone_tracks.empty()) {
      for (const Zone& zone : counter_.zones()) {
        made.zone_tracks.push_back(&counter(kZoneTracks, fmt::format("{}/{}", zone.name, name)));
      }
    }
    return made;
  }

  RegionCounter counter_;
  MetricsPage& page_;
  std::string camera_;
  std::map<std::string, ClassFigures, std::less<>> by_class_;
};

class TrackerStage final : public Stage<msgs::Detection2DArray, msgs::Track2DArray> {
 public:
  // The count of tracks is in the metrics page, which outlives the process: a successor gives no
  // number twice.
  TrackerStage(std::unique_ptr<Tracker> tracker, Counter& tracks, RegionFigures regions)
      : tracker_(std::move(tracker)), tracks_(tracks), regions_(std::move(regions)) {}

  Result<> process(const StageIn<msgs::Detection2DArray>& in,
                   StageOut<msgs::Track2DArray>& out) override {
    tracker_->update(in.message, out.message);
    tracks_ = tracker_->last_id();
    regions_.update(out.message);
    return {};
  }

 private:
  std::unique_ptr<Tracker> tracker_;
  Counter& tracks_;
  RegionFigures regions_;
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

  Result<> configure() override {
    FOVEA_TRY(check(parameters_.options()));
    FOVEA_ASSIGN(regions_, parameters_.regions());
    return {};
  }

  Result<std::unique_ptr<Stage>> make_stage(const std::string& camera) override {
    Counter& tracks = metrics().counter("tracks", camera);
    auto tracker = tracker_kind(parameters_.tracker).make(parameters_.options(), tracks.load());
    return std::make_unique<TrackerStage>(std::move(tracker), tracks,
                                          RegionFigures(regions_, metrics(), camera));
  }

 private:
  TrackerParameters parameters_;
  Regions regions_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<TrackerNode>(); }

}  // namespace fovea
