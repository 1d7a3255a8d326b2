// What a user may choose about detections, as parameters: one declaration for every program that
// takes them by postprocess's names. Header only, so that the decoders do not know the runtime.
//
// Thread safety: plain values.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "nodes/postprocess/options.hpp"
#include "nodes/runtime/process/parameters.hpp"

namespace fovea {

struct PostprocessParameters {
  double score_threshold = 0.25;
  double iou_threshold = 0.45;
  std::map<std::string, double> class_thresholds;
  bool class_agnostic = false;
  std::size_t max_detections = 100;
  std::size_t max_candidates = 1000;

  // REQUIRES: it outlives `p`.
  void declare(ParameterSet& p) {
    p.add("score_threshold", &score_threshold, "Least score of a detection", Range{0, 1});
    p.add("iou_threshold", &iou_threshold, "Overlap above which the lower score goes", Range{0, 1});
    p.add("class_thresholds", &class_thresholds,
          "Score thresholds by class name or number, in place of score_threshold", Range{0, 1});
    p.add("class_agnostic", &class_agnostic, "Boxes of different classes suppress each other");
    p.add("max_detections", &max_detections, "Most detections of one frame",
          Range{1, msgs::Detection2DArray::kMaxDetections});
    p.add("max_candidates", &max_candidates, "Most boxes that enter the suppression",
          Range{1, PostprocessOptions::kMaxCandidates});
  }

  PostprocessOptions options() const {
    PostprocessOptions options;
    options.score_threshold = static_cast<float>(score_threshold);
    options.iou_threshold = static_cast<float>(iou_threshold);
    options.class_agnostic = class_agnostic;
    options.max_detections = max_detections;
    options.max_candidates = max_candidates;
    for (const auto& [label, threshold] : class_thresholds) {
      options.class_thresholds[label] = static_cast<float>(threshold);
    }
    return options;
  }
};

}  // namespace fovea
