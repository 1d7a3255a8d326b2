// How well tracks fit the truth: the figures of the multi object tracking benchmarks.
//
//   MOTA  1 - (missed + false + switches) / truth           CLEAR MOT, Bernardin and Stiefelhagen 2008
//   IDF1  of the best pairing of whole tracks with objects  Ristani et al. 2016
//   HOTA  detection and association in one                  Luiten et al. 2021
//
// A track and an object fit in a frame from an overlap of 0.5 on (HOTA: the mean of 0.05 to 0.95).
// Details as in TrackEval.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "msgs/detection.hpp"

namespace fovea::bench {

struct Labelled {
  std::uint64_t id;
  msgs::BoundingBox2D bbox;
};

struct LabelledFrame {
  std::vector<Labelled> truth;
  std::vector<Labelled> tracks;
};

// Sums over frames, so that those of several sequences can be added.
struct MotFigures {
  static constexpr std::size_t kAlphas = 19;  // 0.05, 0.10 ... 0.95

  std::uint64_t truth = 0;
  std::uint64_t tracks = 0;
  std::uint64_t missed = 0;
  std::uint64_t false_tracks = 0;
  std::uint64_t switches = 0;
  std::uint64_t identity_true = 0;
  std::array<double, kAlphas> hota_true{}, hota_association{};  // pairs, and the sum of their A

  double mota() const;
  double idf1() const;
  double hota() const;
  MotFigures& operator+=(const MotFigures& other);
};

// REQUIRES: ids are unique within `truth` and within `tracks` of a frame.
MotFigures mot_figures(std::span<const LabelledFrame> frames);

}  // namespace fovea::bench
