// What anchors have beside a box and class scores: keypoints, an angle, or mask coefficients with the
// prototypes that they weigh. Raw maps per level or channels of rows, read for the few anchors that
// become detections.
//
// Thread safety: one thread at a time; const methods from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nodes/base/head_spec.hpp"
#include "nodes/base/result.hpp"
#include "nodes/postprocess/head_tensors.hpp"

namespace fovea {

// In network pixels, not clipped; visibility 0..1, and 1 where the model does not say.
struct NetworkPoint {
  float x = 0;
  float y = 0;
  float visibility = 1;
};

// [height, width, channels]; a cell is `stride` network pixels wide and high.
struct Prototypes {
  const float* values = nullptr;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t channels = 0;
  std::uint32_t stride = 0;
};

class AnchorDetails {
 public:
  static constexpr std::uint32_t kMaxChannels = 1024;  // of the map of details

  struct Grid {
    std::uint32_t stride;
    std::uint32_t width;  // in cells
    std::uint32_t height;
    std::uint32_t first_anchor;
  };

  // For the grids of a head's levels; empty() if it has no map of this kind. Errors: kUnsupported for
  // maps that do not go with the levels or with each other.
  static Result<AnchorDetails> create(const HeadSpec& head, std::span<const Grid> grids,
                                      std::uint32_t network_width, std::uint32_t network_height);

  // For a head whose anchors are the rows of one tensor; as above.
  static Result<AnchorDetails> create_for_rows(const HeadSpec& head, std::uint32_t network_width,
                                               std::uint32_t network_height);

  bool empty() const { return maps_.empty(); }
  OutputRole role() const { return role_; }
  std::size_t tensor_count() const;  // of rows: beside theirs

  // Finds the maps of a frame. Errors: kInvalidArgument for tensors that are missing or of another
  // shape.
  Result<> bind(std::span<const HeadTensor> tensors);
  // The same, of rows that lie [rows, channels] there.
  Result<> bind_rows(const float* rows, std::size_t channels, std::span<const HeadTensor> tensors);

  bool is_finite(std::uint32_t anchor) const;
  // Role kAngle: radians from x to y.
  float angle_of(std::uint32_t anchor) const;
  // Role kKeypoints.
  std::size_t point_count() const { return point_values_ == 0 ? 0 : channels_ / point_values_; }
  // REQUIRES: room for point_count() points.
  void points_of(std::uint32_t anchor, std::span<NetworkPoint> points) const;
  // Role kMaskCoefficients.
  std::span<const float> coefficients_of(std::uint32_t anchor) const {
    return {values_of(anchor), channels_};
  }
  const Prototypes& prototypes() const { return prototypes_; }

 private:
  struct Map {
    std::string tensor;
    Grid grid;                      // of rows: empty
    const float* values = nullptr;  // [height, width, channels] of the current frame
  };

  void read_kind(const OutputMap& map);
  Result<> bind_prototypes(std::span<const HeadTensor> tensors);

  Result<> read_prototypes(const HeadSpec& head, std::uint32_t network_width,
                           std::uint32_t network_height);
  const Map& map_of(std::uint32_t anchor) const;
  const float* values_of(std::uint32_t anchor) const;

  OutputRole role_ = OutputRole::kAngle;
  OutputEncoding encoding_ = OutputEncoding::kDecoded;
  std::uint32_t channels_ = 0;
  std::uint32_t point_values_ = 0;
  std::size_t first_channel_ = 0;  // of rows
  std::size_t step_ = 0;           // from one anchor's values to the next one's
  std::vector<Map> maps_;  // by first anchor
  Prototypes prototypes_;
  std::string prototype_tensor_;
};

}  // namespace fovea
