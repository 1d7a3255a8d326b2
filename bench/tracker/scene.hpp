// A street with people, made by arithmetic: where everybody is, and what a detector would find.
//
// People walk and turn, pass in front of each other and behind pillars. The detector's boxes tremble,
// scores fall with what is hidden, some objects are missed, some detections are false (here and there,
// and for some frames in one place), overlapping ones are suppressed as postprocess does, and frames
// are dropped on the way. The same seed gives the same scene on every machine.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/tracker/mot_metrics.hpp"
#include "msgs/detection.hpp"

namespace fovea::bench {

struct SceneOptions {
  int people = 12;
  double frames_per_second = 30;
  double seconds = 20;
  double heights_per_second = 0.7;  // how fast people walk, in their own heights; up to twice that
  int pillars = 3;
  double missed = 0.05;   // share of detections that are missing for no reason
  double tremble = 0.03;  // standard deviation of centre and size, of the size
  double false_per_frame = 0.5;
  double dropped = 0.05;  // share of frames, single ones and runs of up to 6
  std::uint32_t seed = 1;
};

struct SceneFrame {
  std::vector<Labelled> truth;  // of whom at least a quarter can be seen
  msgs::Detection2DArray detections;
};

// Without those that were dropped.
std::vector<SceneFrame> make_scene(const SceneOptions& options);

}  // namespace fovea::bench
