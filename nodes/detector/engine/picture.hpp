// How a picture becomes a model's input: who says so, in the order of trust, and the arithmetic that a
// network then has in it.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nodes/base/input_spec.hpp"
#include "nodes/base/result.hpp"
#include "nodes/detector/engine/network.hpp"

namespace fovea::engine {

// What a model's input is, as far as it matters here.
struct PictureInput {
  std::string name;
  std::int64_t channels = 3;
  DataType dtype = DataType::kFloat32;
};

// What `choice` says, else the metadata, else `family`; an input of one channel is gray and one of
// bytes takes 0..255. What of the metadata cannot be read becomes a line of `warnings`. Errors:
// kInvalidArgument for what cannot be, or colours that the channels contradict.
Result<InputSpec> settled_picture(const PictureInput& input, const InputSpec& family,
                                  const std::map<std::string, std::string>& metadata,
                                  const InputChoice& choice, std::vector<std::string>& warnings);

// What makes the model's channels of a pixel's bytes, which are RGB: channel c is the sum of
// factors[c][k] * byte k, plus shifts[c].
struct PixelValues {
  static constexpr std::size_t kBytes = 3;

  std::size_t channels = 3;
  std::array<std::array<float, kBytes>, 3> factors{};
  std::array<float, 3> shifts{};

  bool shifted() const;
  // The factor of all channels, if nothing else is to be done.
  std::optional<float> only_scale() const;
};
PixelValues values_of(const InputSpec& picture);

}  // namespace fovea::engine
