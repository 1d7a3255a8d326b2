// The input sizes that one plan runs: TensorRT's optimisation profile. Extents are in ONNX's order,
// [batch, 3, height, width]; on a command line "images:1x3x320x320".
//
// A network whose height or width is open is planned for every size from min to max; calibration
// and tuning use opt, and it is what an engine runs until it is told otherwise. The weights are the
// same at all of them.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// What a command line or a parameter says of one end of a profile.
struct ShapeText {
  std::string input;  // empty: the model's only input
  Dims dims;
};
// "images:1x3x320x320" or "1x3x320x320". `what` begins the message: "--min-shapes".
// Errors: kInvalidArgument.
Result<ShapeText> parse_shape(std::string_view what, const std::string& text);

// From up to three of them, as they were typed; empty = not given. What is missing is what is
// given: min and max are opt, opt is max. Errors: kInvalidArgument for what cannot be a profile, or
// for different inputs.
Result<OptimizationProfile> parse_profile(const std::string& min, const std::string& opt,
                                          const std::string& max);

// An input size as options and parameters spell it: "640", or "640x384", width first.
struct InputSize {
  std::int32_t width = 0;
  std::int32_t height = 0;
};
// `what` begins the message: "--input-size". Errors: kInvalidArgument.
Result<InputSize> parse_input_size(std::string_view what, std::string_view text);

// "min 1x3x320x320, opt 1x3x640x640, max 4x3x640x640"; equal ends: "1x3x640x640".
std::string to_string(const OptimizationProfile& profile);

// [1..kMaxElements], three channels, min <= opt <= max, a least batch of 1.
// Errors: kInvalidArgument, naming the end, the extent and its value.
Result<> check_profile(const OptimizationProfile& profile);

// The network at one size: a copy (of the graph, not of the weights) in which nothing but the batch
// is open, so that any provider can load it. `size` is [height, width, 3] as EngineInfo::input has
// it. Errors: kInvalidArgument for a size outside the profile, naming the profile, the extent, its
// value and its range; for another size than a fixed one; for one that the model's stride does
// not divide or the graph does not take, naming what would do.
Result<NetworkDefinition> at_size(const NetworkDefinition& lowered, const Dims& size);

// infer_shapes() at every end of the network's profile. Errors: kInvalidArgument, naming the end.
Result<> check_ends(const NetworkDefinition& network);

// What at_size() says of the size that an open input has just been given.
// REQUIRES: an image input [batch, channels, height, width] without open sides.
Result<> check_input_size(const NetworkDefinition& network);

// What at_size() says of a size, but for the graph.
Result<> check_size(const NetworkDefinition& lowered, const Dims& size);

// What a lowered network runs, for people: its profile, or its only size with a batch of up to
// `max_batch`. REQUIRES: an image input.
OptimizationProfile profile_of(const NetworkDefinition& lowered, std::int32_t max_batch);

}  // namespace fovea::engine
