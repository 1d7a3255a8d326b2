#include "nodes/base/input_spec.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nodes/base/text.hpp"

namespace fovea {

namespace {

template <class Enum, std::size_t N>
std::string_view name_of(Enum value, const std::array<std::string_view, N>& names) {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : "invalid";
}

template <class Enum, std::size_t N>
std::string problem_of(std::string_view what, Enum value,
                       const std::array<std::string_view, N>& names) {
  const auto index = static_cast<std::size_t>(value);
  if (index < N) return "";
  return fmt::format("{} is {}; it must be 0..{} ({})", what, index, N - 1, fmt::join(names, ", "));
}

std::string numbers(const PerChannel& values) { return fmt::format("{}", fmt::join(values, " ")); }

bool has_border(ResizeMode resize) {
  return resize == ResizeMode::kLetterbox || resize == ResizeMode::kLetterboxTopLeft;
}

}  // namespace

std::string problem_of(const InputSpec& spec) {
  for (const std::string& problem : {problem_of("the colour order", spec.colour, kColourOrderNames),
                                     problem_of("the value range", spec.range, kValueRangeNames),
                                     problem_of("resize", spec.resize, kResizeModeNames)}) {
    if (!problem.empty()) return problem;
  }
  if (!std::all_of(spec.mean.begin(), spec.mean.end(), [](float v) { return std::isfinite(v); })) {
    return fmt::format("mean is {}; it must be finite", numbers(spec.mean));
  }
  if (!std::all_of(spec.deviation.begin(), spec.deviation.end(),
                   [](float v) { return std::isnormal(v) && v > 0; })) {
    return fmt::format("std is {}; it must be above 0", numbers(spec.deviation));
  }
  return "";
}

std::string to_string(const InputSpec& spec) {
  std::string text = fmt::format("{} {}", name_of(spec.colour, kColourOrderNames),
                                 name_of(spec.range, kValueRangeNames));
  const InputSpec plain;
  if (spec.mean != plain.mean) text += fmt::format(", mean {}", numbers(spec.mean));
  if (spec.deviation != plain.deviation) {
    text += fmt::format(", deviation {}", numbers(spec.deviation));
  }
  text += fmt::format(", {}", name_of(spec.resize, kResizeModeNames));
  if (has_border(spec.resize)) text += fmt::format(", border {}", spec.border);
  return text;
}

InputSpec with_choice(InputSpec spec, const InputChoice& choice) {
  spec.colour = choice.colour.value_or(spec.colour);
  spec.range = choice.range.value_or(spec.range);
  spec.resize = choice.resize.value_or(spec.resize);
  spec.border = choice.border.value_or(spec.border);
  spec.mean = choice.mean.value_or(spec.mean);
  spec.deviation = choice.deviation.value_or(spec.deviation);
  return spec;
}

std::string to_string(const InputChoice& choice) {
  std::vector<std::string> said;
  if (choice.colour)
    said.push_back(fmt::format("color {}", name_of(*choice.colour, kColourOrderNames)));
  if (choice.range) {
    said.push_back(fmt::format("value_range {}", name_of(*choice.range, kValueRangeNames)));
  }
  if (choice.mean) said.push_back("mean " + numbers(*choice.mean));
  if (choice.deviation) said.push_back("std " + numbers(*choice.deviation));
  if (choice.resize)
    said.push_back(fmt::format("resize {}", name_of(*choice.resize, kResizeModeNames)));
  if (choice.border) said.push_back(fmt::format("pad {}", *choice.border));
  return said.empty() ? "auto" : fmt::format("{}", fmt::join(said, ", "));
}

Result<PerChannel> parse_per_channel(std::string_view what, std::string_view text) {
  constexpr std::string_view kSpace = " \t,";
  const auto refused = [&] {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is '{}'; it must be one number or three, like 0.485, 0.456, 0.406",
                            what, shown(text, 60)));
  };
  std::string_view list = text;
  const auto trim = [&] {
    while (!list.empty() && kSpace.find(list.front()) != std::string_view::npos)
      list.remove_prefix(1);
    while (!list.empty() && kSpace.find(list.back()) != std::string_view::npos)
      list.remove_suffix(1);
  };
  trim();
  if (list.size() > 1 && ((list.front() == '[' && list.back() == ']') ||
                          (list.front() == '(' && list.back() == ')'))) {
    list = list.substr(1, list.size() - 2);
    trim();
  }
  std::vector<float> values;
  while (!list.empty()) {
    float value = 0;
    const auto [end, error] = std::from_chars(list.data(), list.data() + list.size(), value);
    if (error != std::errc() || !std::isfinite(value)) return refused();
    values.push_back(value);
    list.remove_prefix(static_cast<std::size_t>(end - list.data()));
    if (!list.empty() && kSpace.find(list.front()) == std::string_view::npos) return refused();
    trim();
  }
  if (values.size() == 1) return PerChannel{values[0], values[0], values[0]};
  if (values.size() != 3) return refused();
  return PerChannel{values[0], values[1], values[2]};
}

}  // namespace fovea
