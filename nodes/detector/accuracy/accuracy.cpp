// One pass per class: the overlaps of a picture's boxes are computed once and matched per
// threshold.
#include "nodes/detector/accuracy/accuracy.hpp"

#include <algorithm>
#include <map>
#include <random>

namespace fovea {

namespace {

struct ScoredMatch {
  float score = 0;
  std::size_t picture = 0;
  std::array<bool, kIouThresholds.size()> hit{};
};

// All of one class over all pictures.
struct ClassTally {
  std::size_t boxes = 0;
  std::vector<std::size_t> boxes_of;    // by picture
  std::vector<ScoredMatch> detections;  // by falling score
};

// How often each picture counts.
using Weights = std::vector<std::size_t>;

void match_picture(const PictureResult& picture, std::size_t number, std::uint32_t class_id,
                   ClassTally& tally) {
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
  tally.boxes_of.push_back(truth.size());
  std::vector<ScoredMatch> matches(found.size());
  for (std::size_t i = 0; i < found.size(); ++i) matches[i] = {found[i]->score, number, {}};
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

// Zero without a box.
double average_precision(const ClassTally& tally, std::size_t level, const Weights& weights) {
  std::size_t boxes = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) boxes += weights[i] * tally.boxes_of[i];
  if (boxes == 0) return 0;
  std::vector<double> recall;
  std::vector<double> precision;
  std::size_t hits = 0;
  std::size_t found = 0;
  for (const ScoredMatch& match : tally.detections) {
    // A picture that was drawn twice shows its detections twice, one after the other.
    for (std::size_t copy = 0; copy < weights[match.picture]; ++copy) {
      hits += match.hit[level] ? 1 : 0;
      recall.push_back(static_cast<double>(hits) / static_cast<double>(boxes));
      precision.push_back(static_cast<double>(hits) / static_cast<double>(++found));
    }
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

std::map<std::uint32_t, ClassTally> tally_classes(std::span<const PictureResult> pictures) {
  std::map<std::uint32_t, ClassTally> tallies;
  for (const PictureResult& picture : pictures) {
    for (const ScoredBox& box : picture.truth) tallies[box.class_id];
  }
  for (auto& [class_id, tally] : tallies) {
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      match_picture(pictures[i], i, class_id, tally);
    }
    std::stable_sort(tally.detections.begin(), tally.detections.end(),
                     [](const ScoredMatch& a, const ScoredMatch& b) { return a.score > b.score; });
  }
  return tallies;
}

// Classes without a box among the drawn pictures are left out.
double map50_95(const std::map<std::uint32_t, ClassTally>& tallies, const Weights& weights) {
  double sum = 0;
  std::size_t classes = 0;
  for (const auto& [class_id, tally] : tallies) {
    bool drawn = false;
    for (std::size_t i = 0; i < weights.size() && !drawn; ++i) {
      drawn = weights[i] > 0 && tally.boxes_of[i] > 0;
    }
    if (!drawn) continue;
    ++classes;
    for (std::size_t level = 0; level < kIouThresholds.size(); ++level) {
      sum += average_precision(tally, level, weights) / kIouThresholds.size();
    }
  }
  return classes == 0 ? 0 : sum / static_cast<double>(classes);
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
  const Weights once(pictures.size(), 1);
  for (const auto& [class_id, tally] : tally_classes(pictures)) {
    ClassAccuracy accuracy{class_id, tally.boxes, average_precision(tally, 0, once), 0};
    for (std::size_t level = 0; level < kIouThresholds.size(); ++level) {
      accuracy.ap50_95 += average_precision(tally, level, once) / kIouThresholds.size();
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

double map_difference_half_width(std::span<const PictureResult> a, std::span<const PictureResult> b,
                                 std::size_t resamples) {
  if (a.empty() || resamples < 2) return 0;
  const auto tallies_a = tally_classes(a);
  const auto tallies_b = tally_classes(b);
  std::mt19937 random(1);  // its sequence is part of the standard, a distribution's is not
  std::vector<double> differences;
  for (std::size_t i = 0; i < resamples; ++i) {
    Weights weights(a.size(), 0);
    for (std::size_t draw = 0; draw < a.size(); ++draw) ++weights[random() % a.size()];
    differences.push_back(map50_95(tallies_a, weights) - map50_95(tallies_b, weights));
  }
  std::sort(differences.begin(), differences.end());
  const std::size_t tail = resamples / 20;
  return (differences[resamples - 1 - tail] - differences[tail]) / 2;
}

}  // namespace fovea
