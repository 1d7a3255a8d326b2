// Mean average precision, COCO style: what a detector is worth on labelled pictures.
//
// Per class and IoU threshold, detections of all pictures are taken by falling score; each one
// matches the unmatched object of its picture and class that it is most alike, if by at least the
// threshold; how alike two objects are is the task's, see similarity.hpp. Precision is made monotonic and read at the recalls 0, 0.01, ..., 1 (pycocotools'
// accumulate without crowds, areas and more than one detection limit). Classes without a box are
// left out of the mean.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "nodes/detector/accuracy/scored_object.hpp"
#include "nodes/detector/accuracy/similarity.hpp"

namespace fovea {

struct PictureResult {
  std::vector<ScoredObject> truth;
  std::vector<ScoredObject> detections;  // the caller applies thresholds and limits
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

// Of one class over all pictures, and of the pictures so far: a few numbers per detection, so that
// masks and keypoints need not stay.
struct ClassTally {
  struct Match {
    float score = 0;
    std::size_t picture = 0;
    std::array<bool, kIouThresholds.size()> hit{};
  };
  std::size_t boxes = 0;
  std::vector<std::size_t> boxes_of;  // by picture; those after the last are 0
  std::vector<Match> detections;      // in the order of pictures, then of scores
};
using ClassTallies = std::map<std::uint32_t, ClassTally>;

// Thread safety: one thread at a time.
class AccuracyTally {
 public:
  explicit AccuracyTally(Similarity similarity = intersection_over_union)
      : similarity_(similarity) {}

  void add(std::span<const ScoredObject> truth, std::span<const ScoredObject> detections);

  // Equal scores keep the order of pictures, then of detections. Zero everywhere if there is no
  // object in any truth.
  Accuracy accuracy() const;
  std::size_t pictures() const { return pictures_; }

  // How far the difference of two detectors' mAP50-95 on the same pictures may be chance: half the
  // width of the 90 % interval over `resamples` draws of as many pictures with replacement (paired
  // bootstrap). The same every time. 0..1. REQUIRES: as many pictures in both, with equal truth.
  static double difference_half_width(const AccuracyTally& a, const AccuracyTally& b,
                                      std::size_t resamples = 200);

 private:
  // Classes of which there is truth, detections by falling score.
  ClassTallies sorted() const;

  Similarity similarity_;
  std::size_t pictures_ = 0;
  ClassTallies classes_;
};

// The same in one call.
Accuracy evaluate_accuracy(std::span<const PictureResult> pictures,
                           Similarity similarity = intersection_over_union);

// Half the width of the 90 % interval of a statistic of pictures that are drawn with replacement,
// `resamples` times; it is given how often each picture counts. The same every time.
double bootstrap_half_width(std::size_t pictures, std::size_t resamples,
                            const std::function<double(std::span<const std::size_t>)>& statistic);

}  // namespace fovea
