// What an engine's answers are worth, whatever its task: objects by mAP, classes of pictures by how
// often the best is right, classes of pixels by mIoU, distances by their relative error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "nodes/base/head_spec.hpp"
#include "nodes/detector/accuracy/accuracy.hpp"
#include "nodes/detector/accuracy/depth_accuracy.hpp"
#include "nodes/detector/accuracy/label_accuracy.hpp"

namespace fovea {

// What there is in a picture, or was found in it.
struct Answer {
  std::vector<ScoredObject> objects;
  std::vector<std::uint32_t> classes;  // kClassify: the best ones, best first
  LabelPicture labels = {};            // kSemantic
  DepthPicture depth = {};             // kDepth

  bool empty() const {
    return objects.empty() && classes.empty() && labels.empty() && depth.empty();
  }
};

// What people call the numbers below. Empty: there is none.
struct MetricNames {
  std::string_view agreement;      // by the task's own measure, against f32
  std::string_view lax_agreement;  // by the boxes alone; top-5; pixels
  std::string_view map50_95;
  std::string_view map50;
  std::string_view box_map50_95;
};
const MetricNames& metric_names(Task task);

// Of 0..1.
struct TaskScore {
  double map50_95 = 0;      // by the task's own measure; of a classifier, top-1; kSemantic: mIoU;
                            // kDepth: 1 - mean relative error
  double map50 = 0;         // the same; top-5; pixel accuracy; delta1
  double box_map50_95 = 0;  // kSegment, kPose, kObb: by boxes alone
};

// Thread safety: one thread at a time.
class TaskAccuracy {
 public:
  explicit TaskAccuracy(Task task);

  // Of a classifier's truth the first class counts.
  void add(const Answer& truth, const Answer& found);

  TaskScore score() const;
  // Of a task that finds objects; empty of others.
  Accuracy objects() const { return own_.accuracy(); }
  // kSemantic; empty of others.
  const LabelTally& labels() const { return labels_; }

  // As AccuracyTally::difference_half_width(), of map50_95.
  static double difference_half_width(const TaskAccuracy& a, const TaskAccuracy& b);

 private:
  Task task_;
  AccuracyTally own_;
  AccuracyTally boxes_;      // kSegment, kPose, kObb
  std::vector<bool> first_;  // kClassify, by picture: whether the best class is right
  std::vector<bool> among_;  // whether it is among those that were found
  LabelTally labels_;        // kSemantic
  DepthTally depth_;         // kDepth
};

}  // namespace fovea
