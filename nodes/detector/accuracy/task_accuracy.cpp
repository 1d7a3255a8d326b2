#include "nodes/detector/accuracy/task_accuracy.hpp"

#include <algorithm>
#include <array>

namespace fovea {

namespace {

double share(const std::vector<bool>& pictures) {
  if (pictures.empty()) return 0;
  return static_cast<double>(std::count(pictures.begin(), pictures.end(), true)) /
         static_cast<double>(pictures.size());
}

}  // namespace

const MetricNames& metric_names(Task task) {
  static constexpr std::array<MetricNames, kTaskNames.size()> kNames = {{
      {"agreement", "", "mAP50-95", "mAP50", ""},
      {"mask agreement", "box agreement", "mask mAP50-95", "mask mAP50", "box mAP50-95"},
      {"OKS agreement", "box agreement", "OKS mAP50-95", "OKS mAP50", "box mAP50-95"},
      {"ProbIoU agreement", "box agreement", "ProbIoU mAP50-95", "ProbIoU mAP50", "box mAP50-95"},
      {"top-1 agreement", "top-5 agreement", "top-1", "top-5", ""},
      {"mIoU agreement", "pixel agreement", "mIoU", "pixel accuracy", ""},
      {"depth agreement", "delta1 agreement", "1 - abs rel", "delta1", ""},
  }};
  return kNames[static_cast<std::size_t>(task)];
}

TaskAccuracy::TaskAccuracy(Task task) : task_(task), own_(similarity_of(task)) {}

void TaskAccuracy::add(const Answer& truth, const Answer& found) {
  if (task_ == Task::kClassify) {
    const auto& best = found.classes;
    const bool known = !truth.classes.empty();
    first_.push_back(known && !best.empty() && best.front() == truth.classes.front());
    among_.push_back(known &&
                     std::find(best.begin(), best.end(), truth.classes.front()) != best.end());
    return;
  }
  if (task_ == Task::kSemantic) return labels_.add(truth.labels, found.labels);
  if (task_ == Task::kDepth) return depth_.add(truth.depth, found.depth);
  own_.add(truth.objects, found.objects);
  if (task_ != Task::kDetect) boxes_.add(truth.objects, found.objects);
}

TaskScore TaskAccuracy::score() const {
  if (task_ == Task::kClassify) return {share(first_), share(among_), 0};
  if (task_ == Task::kSemantic) return {labels_.mean_iou(), labels_.pixel_accuracy(), 0};
  if (task_ == Task::kDepth) return {1 - depth_.relative_error(), depth_.delta1(), 0};
  const Accuracy own = own_.accuracy();
  return {own.map50_95, own.map50, boxes_.accuracy().map50_95};
}

double TaskAccuracy::difference_half_width(const TaskAccuracy& a, const TaskAccuracy& b) {
  if (a.task_ == Task::kSemantic) return LabelTally::difference_half_width(a.labels_, b.labels_);
  if (a.task_ == Task::kDepth) return DepthTally::difference_half_width(a.depth_, b.depth_);
  if (a.task_ != Task::kClassify) return AccuracyTally::difference_half_width(a.own_, b.own_);
  return bootstrap_half_width(a.first_.size(), 200, [&](std::span<const std::size_t> weights) {
    double sum = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      sum += static_cast<double>(weights[i]) *
             (static_cast<double>(a.first_[i]) - static_cast<double>(b.first_[i]));
    }
    return sum / static_cast<double>(weights.size());
  });
}

}  // namespace fovea
