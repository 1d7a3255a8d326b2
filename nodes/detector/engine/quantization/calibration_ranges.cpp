// The searches are those whose accuracy was measured: a grid of
// candidates each, the first best taken, so that equal histograms give equal ranges.
#include "nodes/detector/engine/quantization/calibration_ranges.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "nodes/detector/engine/reference/operators.hpp"

namespace fovea::engine {

namespace {

constexpr int kCodes = 256;

// Every code of a grid as the value that it stands for, behind `activation`.
std::array<float, kCodes> code_values(const QuantizationGrid& grid, Activation activation,
                                      float alpha) {
  std::array<float, kCodes> values{};
  for (int code = 0; code < kCodes; ++code) {
    values[static_cast<std::size_t>(code)] =
        static_cast<float>(code - grid.zero_point) * grid.scale;
  }
  reference::apply_activation(activation, alpha, values.data(), kCodes);
  return values;
}

// Sum over the histogram of the squared difference between activation(rounded) and activation(x).
class SquaredError {
 public:
  SquaredError(const Histogram& histogram, Activation activation, float alpha)
      : activation_(activation), alpha_(alpha) {
    for (std::size_t bin = 0; bin < kHistogramBins; ++bin) {
      if (histogram.counts()[bin] == 0) continue;
      centres_.push_back(histogram.centre(bin));
      weights_.push_back(static_cast<double>(histogram.counts()[bin]));
    }
    exact_ = centres_;
    reference::apply_activation(activation, alpha, exact_.data(),
                                static_cast<std::int64_t>(exact_.size()));
  }

  // Of the grid over these ends. Gives up, with what it is at least, once it cannot be below
  // `bound`.
  double operator()(float low, float high, double bound) const {
    constexpr std::size_t kAtOnce = 64;
    const QuantizationGrid grid = QuantizationGrid::over(low, high, 0);
    const auto values = code_values(grid, activation_, alpha_);
    double sum = 0;
    for (std::size_t begin = 0; begin < centres_.size() && !(sum >= bound); begin += kAtOnce) {
      const std::size_t end = std::min(begin + kAtOnce, centres_.size());
      for (std::size_t i = begin; i < end; ++i) {
        const double error = static_cast<double>(values[code_of(grid, centres_[i])]) - exact_[i];
        sum += weights_[i] * error * error;
      }
    }
    return sum;
  }

  // What the outermost codes of the grid over `ends` should stand for. Chosen after the ends: to
  // choose ends by the error that these values leave clips more, and loses accuracy.
  void settle_values(Ends& ends) const {
    const QuantizationGrid grid = QuantizationGrid::over(ends.low, ends.high, 0);
    const auto values = code_values(grid, activation_, alpha_);
    ends.low_value = mean_of_code(grid, 0).value_or(values.front());
    ends.high_value = mean_of_code(grid, kCodes - 1).value_or(values.back());
  }

 private:
  static std::size_t code_of(const QuantizationGrid& grid, float x) {
    const float code = std::nearbyint(x / grid.scale) + static_cast<float>(grid.zero_point);
    return static_cast<std::size_t>(std::clamp(code, 0.0F, 255.0F));
  }

  // Of the exact values that get `code`; nullopt if none does.
  std::optional<float> mean_of_code(const QuantizationGrid& grid, std::size_t code) const {
    double weight = 0;
    double sum = 0;
    for (std::size_t i = 0; i < centres_.size(); ++i) {
      if (code_of(grid, centres_[i]) != code) continue;
      weight += weights_[i];
      sum += weights_[i] * exact_[i];
    }
    if (weight == 0) return std::nullopt;
    return static_cast<float>(sum / weight);
  }

  Activation activation_;
  float alpha_;
  std::vector<float> centres_;
  std::vector<double> weights_;
  std::vector<float> exact_;
};

// The upper end, `steps` of them from `first` of the maximum to all of it, whose error is below
// `least`, which becomes that error; `top` if none is.
float best_high(const SquaredError& error, float low, float top, float first, int steps,
                double& least) {
  float best = top;
  for (int step = 0; step < steps; ++step) {
    const float high =
        top * (first + (1 - first) * static_cast<float>(step) / static_cast<float>(steps - 1));
    const double sum = error(low, high, least);
    if (sum >= least) continue;
    least = sum;
    best = high;
  }
  return best;
}

}  // namespace

void Histogram::add(const float* values, std::size_t count) {
  const float inverse = width_ > 0 ? 1 / width_ : 0;
  constexpr float kLast = static_cast<float>(kHistogramBins - 1);
  for (std::size_t i = 0; i < count; ++i) {
    // The comparison order sends NaN to bin 0.
    const float position = std::min(std::max((values[i] - low_) * inverse, 0.0F), kLast);
    ++counts_[static_cast<std::size_t>(position)];
  }
}

std::uint64_t Histogram::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

float percentile(const Histogram& histogram, double percentile) {
  const double wanted = static_cast<double>(histogram.total()) * percentile / 100;
  double sum = 0;
  for (std::size_t bin = 0; bin < kHistogramBins; ++bin) {
    sum += static_cast<double>(histogram.counts()[bin]);
    if (sum >= wanted) return histogram.centre(bin);
  }
  return histogram.high();
}

double percentile_of(const Histogram& histogram, float value) {
  std::uint64_t below = 0;
  for (std::size_t bin = 0; bin < kHistogramBins && histogram.centre(bin) <= value; ++bin) {
    below += histogram.counts()[bin];
  }
  return 100.0 * static_cast<double>(below) /
         static_cast<double>(std::max<std::uint64_t>(histogram.total(), 1));
}

float least_squares_high(const Histogram& histogram, float low) {
  const float top = histogram.high();
  if (top <= 0) return top;
  double least = std::numeric_limits<double>::infinity();
  return best_high(SquaredError(histogram, Activation::kNone, 0), low, top, 0.2F, 81, least);
}

float entropy_high(const Histogram& histogram, float low) {
  constexpr std::size_t kBins = 2048;
  constexpr std::size_t kStep = 16;
  constexpr double kTiny = 1e-9;
  const float top = histogram.high();
  if (top <= low) return top;
  const float width = (top - low) / static_cast<float>(kBins);
  std::vector<double> counts(kBins, 0);
  for (std::size_t bin = 0; bin < kHistogramBins; ++bin) {
    const float position = std::max((histogram.centre(bin) - low) / width, 0.0F);
    counts[std::min(static_cast<std::size_t>(position), kBins - 1)] +=
        static_cast<double>(histogram.counts()[bin]);
  }
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  double least = std::numeric_limits<double>::infinity();
  std::size_t best = kBins;
  double kept = std::accumulate(counts.begin(), counts.begin() + kCodes, 0.0);
  std::size_t summed = kCodes;
  for (std::size_t bins = kCodes; bins <= kBins; bins += kStep) {
    for (; summed < bins; ++summed) kept += counts[summed];
    // Each of 256 codes spreads what it holds over those of its bins that were not empty.
    std::array<double, kCodes> sums{};
    std::array<double, kCodes> used{};
    for (std::size_t i = 0; i < bins; ++i) {
      sums[i * kCodes / bins] += counts[i];
      used[i * kCodes / bins] += counts[i] > 0 ? 1 : 0;
    }
    double divergence = 0;
    for (std::size_t i = 0; i < bins; ++i) {
      const double clipped = i + 1 == bins ? total - kept : 0;
      const double p = (counts[i] + clipped) / std::max(total, kTiny);
      if (p == 0) continue;
      const std::size_t code = i * kCodes / bins;
      const double q = counts[i] > 0 ? sums[code] / used[code] / std::max(kept, kTiny) : 0;
      divergence += p * std::log(p / std::max(q, kTiny));
    }
    if (divergence >= least) continue;
    least = divergence;
    best = bins;
  }
  return low + width * static_cast<float>(best);
}

Ends least_squares_ends(const Histogram& pre_activation, Activation activation, float alpha) {
  const float bottom = pre_activation.low();
  const float top = std::max(pre_activation.high(), 0.0F);
  const SquaredError error(pre_activation, activation, alpha);
  Ends best{bottom, top, 0, 0};
  double least = std::numeric_limits<double>::infinity();
  // Activations that are not flat below need all of it, the last candidate.
  for (const float limit : {-1.5F, -2.0F, -2.5F, -3.0F, -3.5F, -4.0F, -5.0F, -6.0F, -8.0F, -12.0F,
                            std::numeric_limits<float>::lowest()}) {
    const float low = std::max(limit, bottom);
    double sum = least;
    const float high = best_high(error, low, top, 0.25F, 51, sum);
    if (sum < least) best = {low, high, 0, 0};
    least = sum;
    if (low == bottom) break;  // so are all that follow
  }
  error.settle_values(best);
  return best;
}

Ends ends_for_output(const QuantizationGrid& output, Activation activation, float alpha,
                     bool residual) {
  constexpr float kFar = 1e6F;
  const auto apply = [&](float x) {
    reference::apply_activation(activation, alpha, &x, 1);
    return x;
  };
  const float code = output.scale;
  const float bottom = static_cast<float>(-output.zero_point) * code;
  float top = static_cast<float>(255 - output.zero_point) * code;
  if (residual) top -= bottom;
  Ends ends{0, 0, 0, 0};

  // Upwards all activations rise.
  const float reached = std::min(top, apply(kFar) - code / 2);
  float beyond = kFar;
  for (int step = 0; step < 60; ++step) {
    const float middle = (ends.high + beyond) / 2;
    (apply(middle) < reached ? ends.high : beyond) = middle;
  }
  ends.high_value = apply(ends.high);

  const float limit = apply(-kFar);
  if (std::abs(limit - apply(-kFar / 2)) < code) {  // flat below: from where on is it that?
    constexpr float kStep = 1.0F / 16;
    ends.low = -64;
    while (ends.low < 0 && std::abs(apply(ends.low + kStep) - limit) <= code) ends.low += kStep;
    ends.low_value = (apply(ends.low) + limit) / 2;
  } else {
    beyond = -kFar;
    const float least = residual ? bottom - top : bottom;
    for (int step = 0; step < 60; ++step) {
      const float middle = (ends.low + beyond) / 2;
      (apply(middle) > least ? ends.low : beyond) = middle;
    }
    ends.low_value = apply(ends.low);
  }
  return ends;
}

}  // namespace fovea::engine
