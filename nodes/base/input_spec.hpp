// How a picture becomes a network's input: what a model expects of whoever gives it pictures. The
// engine's lowering settles it; plans and msgs::ModelInfo carry it; preprocess obeys its geometry,
// and the engine has its numbers (order, range, mean, deviation) in the network, so that preprocess
// moves bytes only.
//
// Plain values, trivially copyable; pure functions. A spec may come from a file or a peer: whoever
// takes one from there asks problem_of() first. Standard library only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "nodes/base/result.hpp"

namespace fovea {

// The channels that the model itself reads. Its engine's input is RGB whatever they are.
enum class ColourOrder : std::uint8_t { kRgb, kBgr, kGray };
inline constexpr std::array<std::string_view, 3> kColourOrderNames = {"rgb", "bgr", "gray"};

// What bytes of 0..255 become before mean and deviation.
enum class ValueRange : std::uint8_t { kUnit, kBytes };
inline constexpr std::array<std::string_view, 2> kValueRangeNames = {"0..1", "0..255"};

enum class ResizeMode : std::uint8_t {
  kLetterbox,         // all of it, its aspect kept, a border around it
  kStretch,           // all of it, its aspect lost
  kCentreCrop,        // the middle, its aspect kept: the shorter side fills the input; antialiased
  kLetterboxTopLeft,  // a letterbox whose border is right and below only
  kStretchAntialiased,  // stretched; a reduction averages all pixels, as PIL and torchvision do
};
inline constexpr std::array<std::string_view, 5> kResizeModeNames = {
    "letterbox", "stretch", "centre_crop", "letterbox_top_left", "stretch_antialiased"};

// Numbers per channel, in the model's order of channels; of a gray model the first counts.
using PerChannel = std::array<float, 3>;

// The default is what YOLO networks are trained with.
struct InputSpec {
  ColourOrder colour = ColourOrder::kRgb;
  ValueRange range = ValueRange::kUnit;
  ResizeMode resize = ResizeMode::kLetterbox;
  std::uint8_t border = 114;  // byte of every channel outside the scaled picture
  // The network reads (value - mean) / deviation; both in units of `range`.
  PerChannel mean = {0, 0, 0};
  PerChannel deviation = {1, 1, 1};

  bool operator==(const InputSpec&) const = default;
};

// Why it cannot be: a value that no enumerator has, a mean that is no number, a deviation that is
// not positive. Empty if it can.
std::string problem_of(const InputSpec& spec);

// For people, hashes and messages: "rgb 0..1, letterbox, border 114", "bgr 0..255, mean 103.53
// 116.28 123.675, deviation 57.375 57.12 58.395, stretch".
std::string to_string(const InputSpec& spec);

// What a user or a file says of it; the rest is left to others.
struct InputChoice {
  std::optional<ColourOrder> colour;
  std::optional<ValueRange> range;
  std::optional<ResizeMode> resize;
  std::optional<std::uint8_t> border;
  std::optional<PerChannel> mean;
  std::optional<PerChannel> deviation;

  bool operator==(const InputChoice&) const = default;
};

// `spec` with what is said replaced.
InputSpec with_choice(InputSpec spec, const InputChoice& choice);
// Only what is said, "color bgr, value_range 0..255"; "auto" for nothing.
std::string to_string(const InputChoice& choice);

// Three numbers, or one for all channels: "0.485, 0.456, 0.406", in brackets or not, with commas or
// spaces. Errors: kInvalidArgument, beginning with `what`.
Result<PerChannel> parse_per_channel(std::string_view what, std::string_view text);

}  // namespace fovea
