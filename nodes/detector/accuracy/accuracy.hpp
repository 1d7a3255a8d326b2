// Mean average precision, COCO style: what a detector is worth on labelled pictures. Pure
// functions.
//
// Per class and IoU threshold, detections of all pictures are taken by falling score; each one
// matches the unmatched box of its picture and class that it overlaps most, if by at least the
// threshold. Precision is made monotonic and read at the recalls 0, 0.01, ..., 1 (pycocotools'
// accumulate without crowds, areas and more than one detection limit). Classes without a box are
// left out of the mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fovea {

// Edges in pixels of the picture; x1 <= x2, y1 <= y2.
struct ScoredBox {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;
  float score = 0;  // ignored in ground truth
  std::uint32_t class_id = 0;
};

struct PictureResult {
  std::vector<ScoredBox> truth;
  std::vector<ScoredBox> detections;  // the caller applies thresholds and limits
};

struct ClassAccuracy {
  std::uint32_t class_id = 0;
  std::size_t boxes = 0;
  double ap50 = 0;     // 0..1
  double ap50_95 = 0;  // 0..1, mean over the ten thresholds
};

struct Accuracy {
  double map50 = 0;
  double map50_95 = 0;
  std::size_t pictures = 0;
  std::size_t boxes = 0;
  std::vector<ClassAccuracy> classes;  // those with a box, by number
};

inline constexpr std::array<double, 10> kIouThresholds = {0.50, 0.55, 0.60, 0.65, 0.70,
                                                          0.75, 0.80, 0.85, 0.90, 0.95};

// 0 for boxes without area.
double intersection_over_union(const ScoredBox& a, const ScoredBox& b);

// Equal scores keep the order of pictures, then of detections. Zero everywhere if there is no box.
Accuracy evaluate_accuracy(std::span<const PictureResult> pictures);

// How far the difference of two detectors' mAP50-95 on the same pictures may be chance: half the
// width of the 90 % interval over `resamples` draws of as many pictures with replacement (paired
// bootstrap). The same every time. 0..1. REQUIRES: as many of `a` as of `b`, with equal truth.
double map_difference_half_width(std::span<const PictureResult> a, std::span<const PictureResult> b,
                                 std::size_t resamples = 200);

}  // namespace fovea
