// What a user may choose about turning raw head maps into detections.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "msgs/detection.hpp"

namespace fovea {

struct PostprocessOptions {
  static constexpr std::size_t kMaxCandidates = 100'000;

  // A detection needs a score above this, 0..1.
  float score_threshold = 0.25f;
  // Of two boxes (of one class, unless class_agnostic) whose intersection over union is above this,
  // 0..1, the one with the lower score goes.
  float iou_threshold = 0.45f;
  // At most this many detections, the best ones, 1..300.
  std::size_t max_detections = msgs::Detection2DArray::kMaxDetections;
  // At most this many candidates, the best ones, enter the suppression, 1..kMaxCandidates: bounds
  // the time of a frame in which everything is above the threshold.
  std::size_t max_candidates = 1000;
  // Every class above its threshold makes a candidate of its own, not only the best one of an
  // anchor.
  bool multi_label = false;
  // Boxes of different classes suppress each other.
  bool class_agnostic = false;
  // Thresholds in place of score_threshold, by class name or by class number in decimal; 1 switches
  // the class off.
  std::map<std::string, float> class_thresholds;

  // What Ultralytics' `val` uses, for mAP: threshold 0.001, multi-label, IoU 0.7, 30000 candidates.
  static PostprocessOptions evaluation() {
    PostprocessOptions options;
    options.score_threshold = 0.001f;
    options.iou_threshold = 0.7f;
    options.max_candidates = 30'000;
    options.multi_label = true;
    return options;
  }
};

}  // namespace fovea
