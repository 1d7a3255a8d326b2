// From a histogram to the ends of an 8-bit grid: the rules that calibration offers. Pure functions,
// called a few hundred times in a build.
//
// The percentile and squared-error rules clip a thin tail or nothing. Entropy (Kullback-Leibler,
// TensorRT's default for years) lands near the 99.9 percentile on SiLU networks and loses whole
// points of mAP there; it exists because users ask for it, and reports where it cuts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

inline constexpr std::size_t kHistogramBins = 4096;

// Counts of values in [low, high], in equal bins; a value outside counts in the outermost bin.
class Histogram {
 public:
  // REQUIRES: finite, low <= high.
  Histogram(float low, float high)
      : low_(low),
        width_((high - low) / static_cast<float>(kHistogramBins)),
        counts_(kHistogramBins, 0) {}

  void add(const float* values, std::size_t count);

  float low() const { return low_; }
  float high() const { return low_ + width_ * static_cast<float>(kHistogramBins); }
  float centre(std::size_t bin) const { return low_ + width_ * (static_cast<float>(bin) + 0.5F); }
  const std::vector<std::uint64_t>& counts() const { return counts_; }
  std::uint64_t total() const;

 private:
  float low_;
  float width_;
  std::vector<std::uint64_t> counts_;
};

// The value below which `percentile` per cent of all lie, to one bin. REQUIRES: 0..100, not empty.
float percentile(const Histogram& histogram, double percentile);
// What percentage of all lies below `value`, to one bin.
double percentile_of(const Histogram& histogram, float value);

// Upper ends for u8 grids that begin at `low`: the least squared error, and the least divergence.
float least_squares_high(const Histogram& histogram, float low);
float entropy_high(const Histogram& histogram, float low);

// Both ends for s8 codes of what an activation reads: the least squared error behind it, which
// spends no codes where it is flat. The outermost codes hold everything beyond them too; they stand
// for its mean behind the activation.
struct Ends {
  float low = 0;
  float high = 0;
  float low_value = 0;
  float high_value = 0;
};
Ends least_squares_ends(const Histogram& pre_activation, Activation activation, float alpha);

// The same where nothing was measured, from the grid that the layer writes: beyond these ends its
// output would saturate, or stay within one code of where the activation is flat. `residual`:
// something is added before the grid, which reaches as far as the grid itself.
Ends ends_for_output(const QuantizationGrid& output, Activation activation, float alpha,
                     bool residual);

}  // namespace fovea::engine
