#include "nodes/detector/engine/onnx/picture_metadata.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"

namespace fovea::engine {

namespace {

// OpenVINO's words for a resize.
constexpr std::array<std::pair<std::string_view, ResizeMode>, 4> kResizeTypes = {
    std::pair("standard", ResizeMode::kStretch),
    std::pair("fit_to_window", ResizeMode::kLetterboxTopLeft),
    std::pair("fit_to_window_letterbox", ResizeMode::kLetterbox),
    std::pair("crop", ResizeMode::kCentreCrop)};

class Reader {
 public:
  explicit Reader(const std::map<std::string, std::string>& metadata) : metadata_(metadata) {}

  template <class Enum, std::size_t N>
  void word(const char* key, const std::array<std::string_view, N>& names,
            std::optional<Enum>& to) {
    const std::string* value = find(key);
    if (value == nullptr) return;
    const auto at = std::find(names.begin(), names.end(), *value);
    if (at == names.end()) return refuse(key, *value, fmt::format("{}", fmt::join(names, ", ")));
    to = static_cast<Enum>(at - names.begin());
  }

  void byte(const char* key, std::optional<std::uint8_t>& to) {
    const std::string* value = find(key);
    if (value == nullptr) return;
    unsigned number = 0;
    const char* end = value->data() + value->size();
    const auto read = std::from_chars(value->data(), end, number);
    if (read.ec != std::errc() || read.ptr != end || number > 255) {
      return refuse(key, *value, "0..255");
    }
    to = static_cast<std::uint8_t>(number);
  }

  void numbers(const char* key, std::optional<PerChannel>& to) {
    const std::string* value = find(key);
    if (value == nullptr || value->empty()) return;
    const auto read = parse_per_channel(key, *value);
    if (!read) return refuse(key, *value, "one number or three");
    to = *read;
  }

  void resize_type(const char* key, std::optional<ResizeMode>& to) {
    const std::string* value = find(key);
    if (value == nullptr) return;
    for (const auto& [word, mode] : kResizeTypes) {
      if (word == *value) to = mode;
    }
    if (!to) refuse(key, *value, "standard, fit_to_window, fit_to_window_letterbox or crop");
  }

  std::vector<std::string> take_problems() { return std::move(problems_); }

 private:
  const std::string* find(const char* key) const {
    const auto found = metadata_.find(key);
    return found == metadata_.end() ? nullptr : &found->second;
  }
  void refuse(const char* key, const std::string& value, const std::string& valid) {
    problems_.push_back(fmt::format(
        "the metadata's '{}' is '{}', which is not taken: it must be {}; the parameter of that "
        "kind says it better",
        key, shown(value, 60), valid));
  }

  const std::map<std::string, std::string>& metadata_;
  std::vector<std::string> problems_;
};

}  // namespace

PictureMetadata read_picture_metadata(const std::map<std::string, std::string>& metadata) {
  Reader reader(metadata);
  PictureMetadata result;
  InputChoice& choice = result.choice;
  reader.numbers("model_info mean_values", choice.mean);
  reader.numbers("model_info scale_values", choice.deviation);
  if (choice.mean || choice.deviation) choice.range = ValueRange::kBytes;
  reader.resize_type("model_info resize_type", choice.resize);
  reader.byte("model_info pad_value", choice.border);
  reader.word("color", kColourOrderNames, choice.colour);
  reader.word("value_range", kValueRangeNames, choice.range);
  reader.numbers("mean", choice.mean);
  reader.numbers("std", choice.deviation);
  reader.word("resize", kResizeModeNames, choice.resize);
  reader.byte("pad", choice.border);
  result.problems = reader.take_problems();
  return result;
}

}  // namespace fovea::engine
