// What the outputs of a detector mean, by role: which numbers of which tensor are boxes, which are
// scores. The engine's recognisers write it, plans and msgs::ModelInfo carry it, decoders read it.
//
// Plain values, trivially copyable; pure functions. A spec may come from a file or a peer: whoever
// takes one from there asks problem_of() first, and everything else REQUIRES that it found none.
// Standard library only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/bounded.hpp"

namespace fovea {

// What the numbers of a map are about. All but kPrototype: so many per anchor. kSemantic and kDepth
// are about every pixel of the picture, and stand alone.
enum class OutputRole : std::uint32_t {
  kBox,               // where the object is
  kClassScore,        // one number per class
  kObjectness,        // one number: whether there is an object of any class
  kMaskCoefficients,  // weights of the prototypes
  kPrototype,         // pictures from which masks are added up
  kKeypoints,         // `point_values` per point: x, y and perhaps a visibility
  kAngle,             // one number: how far a box is turned
  kEmbedding,         // what the object looks like, for comparisons
  kClassIndex,        // one number: which of `classes` the one class score beside it is of
  // One number per class: a pixel is of the class whose number is the greatest, interpolated linearly
  // between the cells' centres; of a single class, where it is above 0.
  kSemantic,
  // One number: the distance from the camera in m, interpolated linearly between cells that reach to
  // the edges of the picture (align_corners).
  kDepth,
};
inline constexpr std::array<std::string_view, 11> kOutputRoleNames = {
    "box",   "class_score", "objectness",  "mask_coefficients", "prototype", "keypoints",
    "angle", "embedding",   "class_index", "semantic",          "depth"};

enum class OutputEncoding : std::uint32_t {
  kDecoded,  // scores 0..1; boxes as centre x, y, width and height in network pixels; points in
             // network pixels, a visibility 0..1; angles in radians from x to y; coefficients and
             // prototypes as they are
  kLogit,    // scores before the sigmoid; angles: (sigmoid - 1/4) * pi
  kDistribution,  // `bins` logits per number, which is 0..bins-1 weighted by their softmax; with one
                  // bin the number itself. Of boxes: left, top, right and bottom of the cell's
                  // centre, in cells
  // Of keypoints, in cells; a visibility is a logit.
  kCentreOffset,  // x and y from the cell's centre
  kTwiceOffset,   // half of x and y from the cell's upper left corner

  kCorners,     // boxes: x1, y1, x2, y2 in network pixels
  kNormalised,  // boxes: centre x, y, width and height as shares of the network's width and height
  kGridLog,  // boxes: centre from the cell's upper left corner, in cells; logarithms of width and
             // height, in cells
};
inline constexpr std::array<std::string_view, 8> kOutputEncodingNames = {
    "decoded",      "logit",   "distribution", "centre_offset",
    "twice_offset", "corners", "normalised",   "grid_log"};

enum class AnchorAxis : std::uint32_t {
  kInnermost,  // [channels, anchors], [channels, h, w]
  kOutermost,  // [anchors, channels], [h, w, channels]
};
inline constexpr std::array<std::string_view, 2> kAnchorAxisNames = {"innermost", "outermost"};

// What is done about boxes that overlap.
enum class Suppression : std::uint32_t {
  kNeeded,  // many anchors find one object
  kNone,    // one anchor finds one object (NMS-free, end-to-end): every class of an anchor is an
            // object of its own
};
inline constexpr std::array<std::string_view, 2> kSuppressionNames = {"needed", "none"};

// What a head finds. Follows from its maps.
enum class Task : std::uint32_t { kDetect, kSegment, kPose, kObb, kClassify, kSemantic, kDepth };
inline constexpr std::array<std::string_view, 7> kTaskNames = {
    "detect", "segment", "pose", "obb", "classify", "semantic", "depth"};
// Whether it finds objects, each with a box.
constexpr bool finds_objects(Task task) {
  return task != Task::kClassify && task != Task::kSemantic && task != Task::kDepth;
}

// The channels [first_channel, first_channel + channels) of one tensor.
struct OutputMap {
  FixedString<32> tensor;
  OutputRole role = OutputRole::kBox;
  OutputEncoding encoding = OutputEncoding::kDecoded;
  AnchorAxis anchors = AnchorAxis::kInnermost;
  std::uint32_t stride = 0;  // network pixels per cell; 0: anchors of all levels in a row
  std::uint32_t first_channel = 0;
  std::uint32_t channels = 0;
  std::uint32_t bins = 0;          // kDistribution only
  std::uint32_t point_values = 0;  // kKeypoints only: 2 (x, y) or 3 (and its visibility)
  std::uint32_t classes = 0;       // kClassIndex only

  bool operator==(const OutputMap&) const = default;
};

struct HeadSpec {
  static constexpr std::size_t kMaxMaps = 32;

  BoundedArray<OutputMap, kMaxMaps> maps;
  Suppression suppression = Suppression::kNeeded;

  bool empty() const { return maps.empty(); }
  // The first map of a role, null without.
  const OutputMap* find(OutputRole role) const;
  // REQUIRES: not empty().
  Task task() const;
  // Channels of the class scores or of the semantic map, or as many as a class index tells apart; 0
  // without.
  std::uint32_t classes() const;
  // Of the first box map, 0 without.
  std::uint32_t bins() const;
  // Of the box maps, in their order; without those that have none.
  std::vector<std::uint32_t> strides() const;
  // Channels of a tensor, as far as its maps say; 0 if none is in it.
  std::uint32_t channels_of(std::string_view tensor) const;
  // Whether a tensor is a map of cells that lies [h, w, channels].
  bool channels_last(std::string_view tensor) const;

  bool operator==(const HeadSpec&) const = default;
};

// Why it cannot be: more maps than there is room for, a value that no enumerator has, an extent out
// of range, maps of one tensor that overlap or disagree about its layout, class scores that differ
// in number. Empty if it can.
std::string problem_of(const HeadSpec& spec);

// For hashes and messages: "box in box0: distribution of 16, outermost, stride 8, channels 0..63".
std::string to_string(const HeadSpec& spec);

// The heads of the YOLO family.

// What a head gives beside boxes and class scores. Of raw maps: a map of its own per level i, f32
// [h, w, channels], called `msk<i>` (mask coefficients), `kpt<i>` (keypoints) or `ang<i>` (angle).
struct LevelMap {
  OutputRole role = OutputRole::kAngle;
  OutputEncoding encoding = OutputEncoding::kDecoded;
  std::uint32_t channels = 1;
  std::uint32_t point_values = 0;

  bool operator==(const LevelMap&) const = default;
};

// The raw maps of YOLOv8 and its successors. Per level i: `box<i>` f32 [h, w, 4 * bins] (left, top, right, bottom)
// and `cls<i>` f32 [h, w, classes], logits; `more` follows them.
HeadSpec dfl_head(std::uint32_t classes, std::uint32_t bins, std::span<const std::uint32_t> strides,
                  Suppression suppression = Suppression::kNeeded,
                  std::optional<LevelMap> more = std::nullopt);
// `proto` f32 [h, w, channels], from which the masks of a segmenting head are added up.
OutputMap prototypes(std::uint32_t channels, std::uint32_t stride);
// YOLOv8's `output0` f32 [4 + classes, anchors]: centre x, y, width, height, then scores.
HeadSpec decoded_head(std::uint32_t classes);
// YOLOv5's `output0` f32 [anchors, 5 + classes]: the same with the objectness before the scores.
HeadSpec objectness_head(std::uint32_t classes);
// Rows of a model that chooses the best boxes itself, `output0` f32 [rows, 6 + more.channels]: corners
// (of turned boxes: centre x, y, width, height), the score and number of one class, then `more`.
// Rows of score 0 are empty.
HeadSpec rows_head(std::uint32_t classes, std::optional<LevelMap> more = std::nullopt);
// Of transformers: `boxes` f32 [queries, 4], normalised, and `logits` f32 [queries, classes]. Nothing is
// suppressed.
HeadSpec query_head(std::uint32_t classes);
// A classifier's `output0` f32 [classes]: scores that sum up to 1.
HeadSpec classify_head(std::uint32_t classes);
// `semantic` f32 [h, w, classes], logits.
HeadSpec semantic_head(std::uint32_t classes, std::uint32_t stride);
// `depth` f32 [h, w, 1], in m.
HeadSpec depth_head(std::uint32_t stride);

}  // namespace fovea
