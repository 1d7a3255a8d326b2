// What a map of classes is worth against another: intersection over union per class, and the share of
// pixels that are right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fovea {

// A class id per pixel of a map over a whole picture: [height, width], dense.
struct LabelPicture {
  static constexpr std::uint8_t kNoClass = 255;

  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<std::uint8_t> labels = {};

  bool empty() const { return labels.empty(); }
};

// Thread safety: one thread at a time.
class LabelTally {
 public:
  struct ClassScore {
    std::uint32_t class_id = 0;
    std::uint64_t pixels = 0;  // of the truth
    double iou = 0;            // 0..1
  };

  // Each pixel of the truth but those of kNoClass is compared with the pixel of `found` that lies there.
  void add(const LabelPicture& truth, const LabelPicture& found);

  // 0..1, over all pictures; of the classes of which there is truth. 0 without any.
  double mean_iou() const;
  double pixel_accuracy() const;
  std::vector<ClassScore> classes() const;  // of which there is truth, by number

  // As AccuracyTally::difference_half_width(), of the mean IoU.
  static double difference_half_width(const LabelTally& a, const LabelTally& b);

 private:
  struct Pixels {
    std::uint8_t class_id = 0;
    std::uint64_t both = 0;
    std::uint64_t truth = 0;
    std::uint64_t found = 0;

    double iou() const;
  };
  // Sums over the pictures, each counted so often; once without `weights`.
  std::vector<Pixels> sums(std::span<const std::size_t> weights = {}) const;
  static double mean_iou(const std::vector<Pixels>& sums);

  std::vector<std::vector<Pixels>> pictures_;  // the classes of each, by number
};

}  // namespace fovea
