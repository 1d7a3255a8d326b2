// One pass per picture and class: how alike its objects are is computed once and matched per
// threshold.
#include "nodes/detector/accuracy/accuracy.hpp"

#include <algorithm>
#include <random>
#include <set>

namespace fovea {

namespace {

// How often each picture counts.
using Weights = std::span<const std::size_t>;

std::vector<const ScoredObject*> of_class(std::span<const ScoredObject> objects,
                                          std::uint32_t class_id) {
  std::vector<const ScoredObject*> found;
  for (const ScoredObject& object : objects) {
    if (object.class_id == class_id) found.push_back(&object);
  }
  return found;
}

void match_picture(const std::vector<const ScoredObject*>& truth,
                   const std::vector<const ScoredObject*>& found, std::size_t number,
                   Similarity similarity, ClassTally& tally) {
  std::vector<double> alike;
  alike.reserve(found.size() * truth.size());
  for (const ScoredObject* detection : found) {
    for (const ScoredObject* object : truth) alike.push_back(similarity(*detection, *object));
  }
  tally.boxes += truth.size();
  tally.boxes_of.resize(number + 1);
  tally.boxes_of[number] = truth.size();
  const std::size_t first = tally.detections.size();
  for (const ScoredObject* detection : found) {
    tally.detections.push_back({detection->score, number, {}});
  }
  for (std::size_t level = 0; level < kIouThresholds.size(); ++level) {
    std::vector<bool> taken(truth.size(), false);
    for (std::size_t i = 0; i < found.size(); ++i) {
      double best = kIouThresholds[level];
      std::size_t best_object = truth.size();
      for (std::size_t j = 0; j < truth.size(); ++j) {
        if (taken[j] || !(alike[i * truth.size() + j] >= best)) continue;
        best = alike[i * truth.size() + j];
        best_object = j;
      }
      if (best_object == truth.size()) continue;
      taken[best_object] = true;
      tally.detections[first + i].hit[level] = true;
    }
  }
}

std::size_t boxes_of(const ClassTally& tally, std::size_t picture) {
  return picture < tally.boxes_of.size() ? tally.boxes_of[picture] : 0;
}

// Zero without a box.
double average_precision(const ClassTally& tally, std::size_t level, Weights weights) {
  std::size_t boxes = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) boxes += weights[i] * boxes_of(tally, i);
  if (boxes == 0) return 0;
  std::vector<double> recall;
  std::vector<double> precision;
  std::size_t hits = 0;
  std::size_t found = 0;
  for (const ClassTally::Match& match : tally.detections) {
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
    // As pycocotools has them, to the last bit: a recall of 7 in 20 is not yet 35 * 0.01.
    const auto at = std::lower_bound(recall.begin(), recall.end(), step * 0.01);
    if (at != recall.end()) sum += precision[static_cast<std::size_t>(at - recall.begin())];
  }
  return sum / 101;
}

// Classes without a box among the drawn pictures are left out.
double map50_95(const ClassTallies& tallies, Weights weights) {
  double sum = 0;
  std::size_t classes = 0;
  for (const auto& [class_id, tally] : tallies) {
    bool drawn = false;
    for (std::size_t i = 0; i < weights.size() && !drawn; ++i) {
      drawn = weights[i] > 0 && boxes_of(tally, i) > 0;
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

void AccuracyTally::add(std::span<const ScoredObject> truth,
                        std::span<const ScoredObject> detections) {
  std::set<std::uint32_t> classes;
  for (const ScoredObject& object : truth) classes.insert(object.class_id);
  for (const ScoredObject& object : detections) classes.insert(object.class_id);
  for (const std::uint32_t class_id : classes) {
    auto found = of_class(detections, class_id);
    std::stable_sort(found.begin(), found.end(), [](const ScoredObject* a, const ScoredObject* b) {
      return a->score > b->score;
    });
    match_picture(of_class(truth, class_id), found, pictures_, similarity_, classes_[class_id]);
  }
  ++pictures_;
}

ClassTallies AccuracyTally::sorted() const {
  ClassTallies tallies;
  for (const auto& [class_id, tally] : classes_) {
    if (tally.boxes == 0) continue;
    auto& detections = tallies.emplace(class_id, tally).first->second.detections;
    std::stable_sort(detections.begin(), detections.end(),
                     [](const auto& a, const auto& b) { return a.score > b.score; });
  }
  return tallies;
}

Accuracy AccuracyTally::accuracy() const {
  Accuracy result;
  result.pictures = pictures_;
  const std::vector<std::size_t> once(pictures_, 1);
  for (const auto& [class_id, tally] : sorted()) {
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

double AccuracyTally::difference_half_width(const AccuracyTally& a, const AccuracyTally& b,
                                            std::size_t resamples) {
  const ClassTallies tallies_a = a.sorted();
  const ClassTallies tallies_b = b.sorted();
  return bootstrap_half_width(a.pictures(), resamples, [&](Weights weights) {
    return map50_95(tallies_a, weights) - map50_95(tallies_b, weights);
  });
}

Accuracy evaluate_accuracy(std::span<const PictureResult> pictures, Similarity similarity) {
  AccuracyTally tally(similarity);
  for (const PictureResult& picture : pictures) tally.add(picture.truth, picture.detections);
  return tally.accuracy();
}

double bootstrap_half_width(std::size_t pictures, std::size_t resamples,
                            const std::function<double(std::span<const std::size_t>)>& statistic) {
  if (pictures == 0 || resamples < 2) return 0;
  std::mt19937 random(1);  // its sequence is part of the standard, a distribution's is not
  std::vector<double> values;
  for (std::size_t i = 0; i < resamples; ++i) {
    std::vector<std::size_t> weights(pictures, 0);
    for (std::size_t draw = 0; draw < pictures; ++draw) ++weights[random() % pictures];
    values.push_back(statistic(weights));
  }
  std::sort(values.begin(), values.end());
  const std::size_t tail = resamples / 20;
  return (values[resamples - 1 - tail] - values[tail]) / 2;
}

}  // namespace fovea
