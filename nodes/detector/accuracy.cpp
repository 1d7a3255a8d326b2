// One pass per class: the overlaps of a picture's boxes are computed once and matched per
// threshold.
#include "nodes/detector/accuracy.hpp"

#include <algorithm>
#include <map>

namespace fovea {

namespace {

struct ScoredMatch {
  float score = 0;
  std::array<bool, kIouThresholds.size()> hit{};
};

// All of one class over all pictures.
struct ClassTally {
  std::size_t boxes = 0;
  std::vector<ScoredMatch> detections;
};

void match_picture(const PictureResult& picture, std::uint32_t class_id, ClassTally& tally) {
  std::vector<const ScoredBox*> truth;
  std::vector<const ScoredBox*> found;
  for (const ScoredBox& box : picture.truth) {
    if (box.class_id == class_id) truth.push_back(&box);
  }
  for (const ScoredBox& box : picture.detections) {
    if (box.class_id == class_id) found.push_back(&box);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const ScoredBox* a, const ScoredBox* b) { return a->score > b->score; });
  tally.boxes += truth.size();
  std::vector<ScoredMatch> matches(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) matches[i].score = found[i]->score;
  for (std::size_t level = 0; level < kIouThresholds.size(); ++level) {
    std::vector<bool> taken(truth.size(), false);
    for (std::size_t i = 0; i < found.size(); ++i) {
      double best = kIouThresholds[level];
      std::size_t best_box = truth.size();
      for (std::size_t j = 0; j < truth.size(); ++j) {
        if (taken[j]) continue;
        const double overlap = intersection_over_union(*found[i], *truth[j]);
        if (overlap < best) continue;
        best = overlap;
        best_box = j;
      }
      if (best_box == truth.size()) continue;
      taken[best_box] = true;
      matches[i].hit[level] = true;
    }
  }
  tally.detections.insert(tally.detections.end(), matches.begin(), matches.end());
}

// REQUIRES: by falling score, boxes > 0.
double average_precision(const ClassTally& tally, std::size_t level) {
  std::vector<double> recall;
  std::vector<double> precision;
  std::size_t hits = 0;
  for (std::size_t i = 0; i < tally.detections.size(); ++i) {
    hits += tally.detections[i].hit[level] ? 1 : 0;
    recall.push_back(static_cast<double>(hits) / static_cast<double>(tally.boxes));
    precision.push_back(static_cast<double>(hits) / static_cast<double>(i + 1));
  }
  for (std::size_t i = precision.size(); i-- > 1;) {
    precision[i - 1] = std::max(precision[i - 1], precision[i]);
  }
  double sum = 0;
  for (int step = 0; step <= 100; ++step) {
    const auto at = std::lower_bound(recall.begin(), recall.end(), step / 100.0);
    if (at != recall.end()) sum += precision[static_cast<std::size_t>(at - recall.begin())];
  }
  return sum / 101;
}

}  // namespace

double intersection_over_union(const ScoredBox& a, const ScoredBox& b) {
  const double width = std::min<double>(a.x2, b.x2) - std::max<double>(a.x1, b.x1);
  const double height = std::min<double>(a.y2, b.y2) - std::max<double>(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const auto area = [](const ScoredBox& box) {
    return (static_cast<double>(box.x2) - box.x1) * (static_cast<double>(box.y2) - box.y1);
  };
  const double both = width * height;
  return both / (area(a) + area(b) - both);
}

Accuracy evaluate_accuracy(std::span<const PictureResult> pictures) {
  Accuracy result;
  result.pictures = pictures.size();
  std::map<std::uint32_t, ClassTally> tallies;
  for (const PictureResult& picture : pictures) {
    for (const ScoredBox& box : picture.truth) tallies[box.class_id];
  }
  for (auto& [class_id, tally] : tallies) {
    for (const PictureResult& picture : pictures) match_picture(picture, class_id, tally);
    std::stable_sort(tally.detections.begin(), tally.detections.end(),
                     [](const ScoredMatch& a, const ScoredMatch& b) { return a.score > b.score; });
    ClassAccuracy accuracy{class_id, tally.boxes, average_precision(tally, 0), 0};
    for (std::size_t level = 0; level < kIouThresholds.size(); ++level) {
      accuracy.ap50_95 += average_precision(tally, level) / kIouThresholds.size();
    }
    result.boxes += tally.boxes;
    result.map50 += accuracy.ap50;
    result.map50_95 += accuracy.ap50_95;
    result.classes.push_back(accuracy);
  }
  if (!result.classes.empty()) {
    result.map50 /= static_cast<double>(result.classes.size());
    result.map50_95 /= static_cast<double>(result.classes.size());
  }
  return result;
}

}  // namespace fovea
