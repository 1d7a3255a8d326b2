// Every tracker on the same made-up streets with truth: how well they track, and what a frame costs.
//
// Each gets detections from postprocess's default score_threshold on, and from the one that goes with
// bytetrack. Figures are of five scenes of 20 s each, together.
//
// With `--detections FILE [--rate FPS]` on a video instead, of which `fovea predict VIDEO --json FILE
// score_threshold:=0.1` wrote the detections: no truth, so figures that need none (recorded.hpp).
#include <array>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/compare.hpp"
#include "bench/tracker/mot_metrics.hpp"
#include "bench/tracker/recorded.hpp"
#include "bench/tracker/scene.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/tracker/trackers.hpp"

namespace {

using fovea::Tracker;
using fovea::TrackerKind;
using fovea::TrackerOptions;
using fovea::bench::MotFigures;
using fovea::bench::SceneFrame;
using fovea::bench::SceneOptions;

struct Work {
  std::string_view name;
  SceneOptions scene;
};

std::vector<Work> works() {
  std::vector<Work> all{{"street", {}},     {"crowd of 40", {}},  {"10 frames/s", {}},
                        {"5 frames/s", {}}, {"30 % dropped", {}}, {"20 % missed, 2 false", {}},
                        {"runners", {}}};
  all[1].scene.people = 40;
  all[2].scene.frames_per_second = 10;
  all[3].scene.frames_per_second = 5;
  all[4].scene.dropped = 0.3;
  all[5].scene.missed = 0.2;
  all[5].scene.false_per_frame = 2;
  all[6].scene.heights_per_second = 2;
  return all;
}

fovea::msgs::Detection2DArray above(const fovea::msgs::Detection2DArray& all, float threshold) {
  fovea::msgs::Detection2DArray some = all;
  some.detections.clear();
  for (const auto& detection : all.detections) {
    if (detection.hypothesis.score > threshold) some.detections.push_back(detection);
  }
  return some;
}

MotFigures track(Tracker& tracker, const std::vector<SceneFrame>& scene, float threshold) {
  std::vector<fovea::bench::LabelledFrame> frames;
  fovea::msgs::Track2DArray tracks;
  for (const SceneFrame& frame : scene) {
    tracker.update(above(frame.detections, threshold), tracks);
    fovea::bench::LabelledFrame labelled{frame.truth, {}};
    for (const auto& one : tracks.tracks) labelled.tracks.push_back({one.id, one.bbox});
    frames.push_back(std::move(labelled));
  }
  return fovea::bench::mot_figures(frames);
}

void print_quality(std::uint32_t seeds, bool json) {
  if (!json) {
    fovea::print_out("{:<22} {:<10} {:>6} {:>7} {:>7} {:>7} {:>9} {:>8} {:>8} {:>8}\n", "scene",
                     "tracker", "score", "HOTA", "IDF1", "MOTA", "switches", "missed", "false",
                     "truth");
  }
  for (const Work& work : works()) {
    for (const TrackerKind& kind : fovea::tracker_kinds()) {
      for (const float threshold : {0.25f, 0.1f}) {
        MotFigures sum;
        for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
          SceneOptions options = work.scene;
          options.seed = seed;
          const auto tracker = kind.make(TrackerOptions{}, 0);
          sum += track(*tracker, make_scene(options), threshold);
        }
        if (json) {
          fovea::print_out(
              R"({{"scene": "{}", "tracker": "{}", "score_threshold": {}, "hota": {:.4f}, )"
              R"("idf1": {:.4f}, "mota": {:.4f}, "switches": {}, "missed": {}, "false": {}, )"
              R"("truth": {}}})"
              "\n",
              work.name, kind.name, threshold, sum.hota(), sum.idf1(), sum.mota(), sum.switches,
              sum.missed, sum.false_tracks, sum.truth);
          continue;
        }
        fovea::print_out("{:<22} {:<10} {:>6} {:>7.3f} {:>7.3f} {:>7.3f} {:>9} {:>8} {:>8} {:>8}\n",
                         work.name, kind.name, threshold, sum.hota(), sum.idf1(), sum.mota(),
                         sum.switches, sum.missed, sum.false_tracks, sum.truth);
      }
    }
  }
}

// As many objects as are told, each next to others, that tremble and go on.
std::vector<SceneFrame> grid(std::size_t objects) {
  std::vector<SceneFrame> frames(100);
  for (std::size_t number = 0; number < frames.size(); ++number) {
    fovea::msgs::Detection2DArray& to = frames[number].detections;
    to.header.seq = number + 1;
    to.header.stamp_monotonic = static_cast<std::int64_t>(number + 1) * 33'000'000;
    for (std::size_t i = 0; i < objects; ++i) {
      const auto tremble = static_cast<float>((number * 7 + i * 13) % 5) - 2;
      // 25 px from one to the next of 40 x 80 px; every tenth scores low.
      const auto x = static_cast<float>(25 * (i % 20) + number) + tremble;
      const auto y = static_cast<float>(50 * (i / 20));
      to.detections.push_back(
          {{x, y, 40, 80}, {0, i % 10 == 9 && number > 10 ? 0.2f : 0.8f}, std::string_view("x")});
    }
  }
  return frames;
}

// One frame, the sequence over and over.
std::vector<fovea::bench::Row> cost(std::size_t objects, int repetitions) {
  const std::vector<SceneFrame> scene = grid(objects);
  struct Run {
    std::unique_ptr<Tracker> tracker;
    std::size_t next = 0;
    fovea::msgs::Detection2DArray detections;
    fovea::msgs::Track2DArray tracks;
  };
  std::vector<std::shared_ptr<Run>> runs;
  std::vector<fovea::bench::Contender> contenders;
  for (const TrackerKind& kind : fovea::tracker_kinds()) {
    const auto run = std::make_shared<Run>();
    run->tracker = kind.make(TrackerOptions{}, 0);
    contenders.push_back({std::string(kind.name), [run, &scene] {
                            run->tracker->update(scene[run->next++ % scene.size()].detections,
                                                 run->tracks);
                          }});
  }
  return fovea::bench::compare(fmt::format("{} objects, a frame", objects), contenders,
                               repetitions);
}

int print_recorded(const std::string& file, double rate) {
  const auto frames = fovea::bench::read_predictions(file, rate);
  if (!frames) {
    fovea::print_error("{}", frames.error().message);
    return 1;
  }
  fovea::print_out("{:<10} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>11} {:>9}\n", "tracker", "score",
                   "frames", "shown", "tracks", "short", "gaps", "hand-overs", "us/frame");
  for (const float threshold : {0.25f, 0.1f}) {
    std::vector<fovea::msgs::Detection2DArray> some;
    for (const auto& frame : *frames) some.push_back(above(frame, threshold));
    for (const TrackerKind& kind : fovea::tracker_kinds()) {
      const auto tracker = kind.make(TrackerOptions{}, 0);
      const auto f = fovea::bench::track_recorded(*tracker, some);
      fovea::print_out("{:<10} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>11} {:>9.1f}\n", kind.name,
                       threshold, f.frames, f.shown, f.tracks, f.short_ones, f.gaps, f.hand_overs,
                       f.microseconds);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 3 && std::string_view(argv[1]) == "--detections") {
    const double rate =
        argc == 5 && std::string_view(argv[3]) == "--rate" ? std::atof(argv[4]) : 30;
    if ((argc == 3 || argc == 5) && rate > 0) return print_recorded(argv[2], rate);
    fovea::print_error("usage: {} --detections FILE [--rate FPS]", argv[0]);
    return 2;
  }
  bool json = false;
  int repetitions = 1001;
  if (!fovea::bench::parse_arguments(argc, argv, json, repetitions)) return 2;
  print_quality(5, json);
  if (!json) fovea::print_out("\n");
  std::vector<fovea::bench::Row> rows;
  for (const std::size_t objects : {10, 100, 300}) {
    for (auto& row : cost(objects, repetitions)) rows.push_back(std::move(row));
  }
  fovea::bench::print(rows, json);
  return 0;
}
