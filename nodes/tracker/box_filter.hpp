// Where the box of one object is and where it goes: a Kalman filter with constant velocity.
//
// State: centre and size of the box in px, and the rate of each in px/s. Measured: centre and size.
// Noise is independent for each of the four, so the filter of eight states is four of two; those of x
// and width scale with the box's width, of y and height with its height, as in BoT-SORT (Aharon et
// al. 2022; ByteTrack and DeepSORT scale all by the height). Standard deviations, of a size of 1:
//
//   a measurement                              1/20
//   position, gained within a nominal frame    1/20        (1/30 s; the variance grows with time,
//   rate, gained within a nominal frame        1/160 * 30   so uneven and dropped frames are right)
//   a first measurement's position             2/20
//   a first measurement's rate                 10/160 * 30
//
// These are the literature's for 30 frames/s. Being per second, they hold for other rates: a person
// walks half a body height a second, whatever the camera.
//
// Thread safety: a plain value. REQUIRES: boxes of positive size and finite numbers.
#pragma once

#include "msgs/detection.hpp"

namespace fovea {

class BoxFilter {
 public:
  explicit BoxFilter(const msgs::BoundingBox2D& first);

  // REQUIRES: seconds > 0. `is_seen`: the frame before showed the object. The size of one that is
  // hidden stays: what it was doing then (getting thinner behind something) would go on.
  void predict(double seconds, bool is_seen);
  void correct(const msgs::BoundingBox2D& measured);

  msgs::BoundingBox2D box() const;

 private:
  struct Axis {
    double value, rate;  // px, px/s
    double value_variance, covariance, rate_variance;

    void predict(double seconds, double scale);
    void correct(double measured, double scale);
  };
  static Axis first(double value, double scale);
  double width() const;
  double height() const;

  Axis x_, y_, width_, height_;
};

}  // namespace fovea
