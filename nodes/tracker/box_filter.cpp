#include "nodes/tracker/box_filter.hpp"

#include <algorithm>

namespace fovea {
namespace {

constexpr double kFramesPerSecond = 30;
constexpr double kPosition = 1.0 / 20;
constexpr double kRate = 1.0 / 160 * kFramesPerSecond;

constexpr double square(double value) { return value * value; }

}  // namespace

void BoxFilter::Axis::predict(double seconds, double scale) {
  const double frames = seconds * kFramesPerSecond;
  value += rate * seconds;
  value_variance +=
      seconds * (2 * covariance + seconds * rate_variance) + frames * square(kPosition * scale);
  covariance += seconds * rate_variance;
  rate_variance += frames * square(kRate * scale);
}

void BoxFilter::Axis::correct(double measured, double scale) {
  const double innovation = measured - value;
  const double gain = 1 / (value_variance + square(kPosition * scale));
  const double value_gain = value_variance * gain;
  const double rate_gain = covariance * gain;
  value += value_gain * innovation;
  rate += rate_gain * innovation;
  rate_variance -= rate_gain * covariance;
  covariance *= 1 - value_gain;
  value_variance *= 1 - value_gain;
}

BoxFilter::Axis BoxFilter::first(double value, double scale) {
  return {.value = value,
          .rate = 0,
          .value_variance = square(2 * kPosition * scale),
          .covariance = 0,
          .rate_variance = square(10 * kRate * scale)};
}

BoxFilter::BoxFilter(const msgs::BoundingBox2D& box)
    : x_(first(box.center_x, box.size_x)),
      y_(first(box.center_y, box.size_y)),
      width_(first(box.size_x, box.size_x)),
      height_(first(box.size_y, box.size_y)) {}

// At least a pixel, whatever the rate made of it: noise scales with it.
double BoxFilter::width() const { return std::max(width_.value, 1.0); }
double BoxFilter::height() const { return std::max(height_.value, 1.0); }

void BoxFilter::predict(double seconds, bool is_seen) {
  const double wide = width(), high = height();
  if (!is_seen) width_.rate = height_.rate = 0;
  x_.predict(seconds, wide);
  y_.predict(seconds, high);
  width_.predict(seconds, wide);
  height_.predict(seconds, high);
}

void BoxFilter::correct(const msgs::BoundingBox2D& measured) {
  const double wide = width(), high = height();
  x_.correct(measured.center_x, wide);
  y_.correct(measured.center_y, high);
  width_.correct(measured.size_x, wide);
  height_.correct(measured.size_y, high);
}

msgs::BoundingBox2D BoxFilter::box() const {
  return {static_cast<float>(x_.value), static_cast<float>(y_.value), static_cast<float>(width()),
          static_cast<float>(height())};
}

}  // namespace fovea
