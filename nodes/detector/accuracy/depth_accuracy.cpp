#include "nodes/detector/accuracy/depth_accuracy.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "nodes/detector/accuracy/accuracy.hpp"

namespace fovea {

void DepthTally::add(const DepthPicture& truth, const DepthPicture& found) {
  constexpr double kNear = 1.25;
  const bool comparable = found.values.size() == truth.values.size();
  Sums sums;
  for (std::size_t i = 0; i < truth.values.size(); ++i) {
    const double wanted = truth.values[i];
    if (!(wanted > 0)) continue;
    ++sums.pixels;
    const double value = comparable ? found.values[i] : 0;
    if (!(value > 0)) {
      sums.error += 1;
      continue;
    }
    sums.error += std::min(std::abs(value - wanted) / wanted, 1.0);
    sums.near += std::max(value / wanted, wanted / value) < kNear ? 1 : 0;
  }
  pictures_.push_back(sums);
}

DepthTally::Sums DepthTally::total() const {
  Sums total;
  for (const Sums& one : pictures_) {
    total.error += one.error;
    total.near += one.near;
    total.pixels += one.pixels;
  }
  return total;
}

double DepthTally::relative_error() const {
  const Sums sums = total();
  return sums.pixels == 0 ? 1 : sums.error / static_cast<double>(sums.pixels);
}

double DepthTally::delta1() const {
  const Sums sums = total();
  return sums.pixels == 0 ? 0 : static_cast<double>(sums.near) / static_cast<double>(sums.pixels);
}

double DepthTally::difference_half_width(const DepthTally& a, const DepthTally& b) {
  const auto error = [](const DepthTally& tally, std::span<const std::size_t> weights) {
    double sum = 0;
    double pixels = 0;
    for (std::size_t i = 0; i < tally.pictures_.size(); ++i) {
      sum += static_cast<double>(weights[i]) * tally.pictures_[i].error;
      pixels += static_cast<double>(weights[i]) * static_cast<double>(tally.pictures_[i].pixels);
    }
    return pixels == 0 ? 1 : sum / pixels;
  };
  return bootstrap_half_width(a.pictures_.size(), 200, [&](std::span<const std::size_t> weights) {
    return error(a, weights) - error(b, weights);
  });
}

}  // namespace fovea
