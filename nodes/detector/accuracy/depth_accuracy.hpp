// How much distances differ from others of the same picture: the usual measures of depth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fovea {

// Distances in m, [height, width], dense; what is not above 0 is unknown.
struct DepthPicture {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::vector<float> values = {};

  bool empty() const { return values.empty(); }
};

// Thread safety: one thread at a time.
class DepthTally {
 public:
  // Pixels of the truth that are known; a distance that is not known is wrong by all of it. Pictures of
  // another size than the truth's are wrong throughout.
  void add(const DepthPicture& truth, const DepthPicture& found);

  // Means over all pixels. Of nothing: 1 and 0.
  double relative_error() const;  // |found - truth| / truth, at most 1 per pixel
  double delta1() const;          // 0..1: the share with max(found / truth, truth / found) < 1.25

  // As AccuracyTally::difference_half_width(), of the relative error.
  static double difference_half_width(const DepthTally& a, const DepthTally& b);

 private:
  struct Sums {
    double error = 0;
    std::uint64_t near = 0;
    std::uint64_t pixels = 0;
  };
  Sums total() const;

  std::vector<Sums> pictures_;
};

}  // namespace fovea
