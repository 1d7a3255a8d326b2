#include "nodes/detector/accuracy/label_accuracy.hpp"

#include <array>

#include "nodes/detector/accuracy/accuracy.hpp"

namespace fovea {

namespace {

constexpr std::size_t kLabels = 256;

}  // namespace

double LabelTally::Pixels::iou() const {
  const std::uint64_t either = truth + found - both;
  return either == 0 ? 0 : static_cast<double>(both) / static_cast<double>(either);
}

void LabelTally::add(const LabelPicture& truth, const LabelPicture& found) {
  std::array<Pixels, kLabels> pixels{};
  const auto column = [&](std::uint32_t x) {
    return static_cast<std::size_t>(std::uint64_t{x} * found.width / truth.width);
  };
  for (std::uint32_t y = 0; y < truth.height; ++y) {
    const std::uint8_t* wanted = truth.labels.data() + std::size_t{y} * truth.width;
    const std::uint8_t* row =
        found.labels.data() + std::uint64_t{y} * found.height / truth.height * found.width;
    for (std::uint32_t x = 0; x < truth.width; ++x) {
      if (wanted[x] == LabelPicture::kNoClass) continue;
      const std::uint8_t label = found.empty() ? LabelPicture::kNoClass : row[column(x)];
      ++pixels[wanted[x]].truth;
      ++pixels[label].found;
      if (label == wanted[x]) ++pixels[label].both;
    }
  }
  std::vector<Pixels> seen;
  for (std::size_t c = 0; c < kLabels; ++c) {
    pixels[c].class_id = static_cast<std::uint8_t>(c);
    if (pixels[c].truth > 0 || pixels[c].found > 0) seen.push_back(pixels[c]);
  }
  pictures_.push_back(std::move(seen));
}

std::vector<LabelTally::Pixels> LabelTally::sums(std::span<const std::size_t> weights) const {
  std::vector<Pixels> sums(kLabels);
  for (std::size_t i = 0; i < pictures_.size(); ++i) {
    const std::uint64_t weight = weights.empty() ? 1 : weights[i];
    for (const Pixels& one : pictures_[i]) {
      Pixels& sum = sums[one.class_id];
      sum.both += weight * one.both;
      sum.truth += weight * one.truth;
      sum.found += weight * one.found;
    }
  }
  return sums;
}

double LabelTally::mean_iou(const std::vector<Pixels>& sums) {
  double sum = 0;
  std::size_t count = 0;
  for (const Pixels& one : sums) {
    if (one.truth == 0) continue;
    sum += one.iou();
    ++count;
  }
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

double LabelTally::mean_iou() const { return mean_iou(sums()); }

double LabelTally::pixel_accuracy() const {
  std::uint64_t both = 0;
  std::uint64_t truth = 0;
  for (const Pixels& one : sums()) {
    both += one.both;
    truth += one.truth;
  }
  return truth == 0 ? 0 : static_cast<double>(both) / static_cast<double>(truth);
}

std::vector<LabelTally::ClassScore> LabelTally::classes() const {
  std::vector<ClassScore> classes;
  const std::vector<Pixels> all = sums();
  for (std::size_t c = 0; c < all.size(); ++c) {
    if (all[c].truth == 0) continue;
    classes.push_back({static_cast<std::uint32_t>(c), all[c].truth, all[c].iou()});
  }
  return classes;
}

double LabelTally::difference_half_width(const LabelTally& a, const LabelTally& b) {
  return bootstrap_half_width(a.pictures_.size(), 200, [&](std::span<const std::size_t> weights) {
    return mean_iou(a.sums(weights)) - mean_iou(b.sums(weights));
  });
}

}  // namespace fovea
