#include "nodes/detector/engine/picture.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/picture_metadata.hpp"

namespace fovea::engine {

Result<InputSpec> settled_picture(const PictureInput& input, const InputSpec& family,
                                  const std::map<std::string, std::string>& metadata,
                                  const InputChoice& choice, std::vector<std::string>& warnings) {
  InputSpec picture = family;
  const bool one_channel = input.channels == 1;
  if (one_channel) picture.colour = ColourOrder::kGray;
  if (input.dtype == DataType::kUint8) picture.range = ValueRange::kBytes;
  PictureMetadata said = read_picture_metadata(metadata);
  picture = with_choice(with_choice(picture, said.choice), choice);
  if ((picture.colour == ColourOrder::kGray) != one_channel) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("color is {}, but the input '{}' has {}; it must be {}",
                            kColourOrderNames[static_cast<std::size_t>(picture.colour)],
                            shown(input.name, 60), one_channel ? "1 channel" : "3 channels",
                            one_channel ? "gray" : "rgb or bgr"));
  }
  if (const std::string problem = problem_of(picture); !problem.empty()) {
    return fail(ErrorCode::kInvalidArgument, problem);
  }
  for (std::string& problem : said.problems) warnings.push_back(std::move(problem));
  return picture;
}

bool PixelValues::shifted() const {
  return std::any_of(shifts.begin(), shifts.end(), [](float shift) { return shift != 0; });
}

std::optional<float> PixelValues::only_scale() const {
  if (channels != kBytes || shifted()) return std::nullopt;
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t k = 0; k < kBytes; ++k) {
      if (factors[c][k] != (c == k ? factors[0][0] : 0.0F)) return std::nullopt;
    }
  }
  return factors[0][0];
}

PixelValues values_of(const InputSpec& picture) {
  // BT.601, as OpenCV and PIL have it.
  constexpr std::array<float, PixelValues::kBytes> kLuma = {0.299F, 0.587F, 0.114F};
  const bool gray = picture.colour == ColourOrder::kGray;
  PixelValues values;
  values.channels = gray ? 1 : 3;
  const float scale = picture.range == ValueRange::kUnit ? 1.0F / 255.0F : 1.0F;
  for (std::size_t c = 0; c < values.channels; ++c) {
    const float deviation = picture.deviation[c];
    if (picture.mean[c] != 0) values.shifts[c] = -picture.mean[c] / deviation;
    if (gray) {
      for (std::size_t k = 0; k < kLuma.size(); ++k) {
        values.factors[c][k] = kLuma[k] * scale / deviation;
      }
    } else {
      values.factors[c][picture.colour == ColourOrder::kBgr ? 2 - c : c] = scale / deviation;
    }
  }
  return values;
}

}  // namespace fovea::engine
