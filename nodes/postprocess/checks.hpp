// Ranges of options and model descriptions, refused in the same words.
#pragma once

#include <cstdint>
#include <string_view>

#include <fmt/format.h>

#include "nodes/base/result.hpp"

namespace fovea {

inline Result<> check_unit(std::string_view key, float value) {
  if (value >= 0 && value <= 1) return {};
  return fail(ErrorCode::kInvalidArgument, fmt::format("{} is {}; it must be 0..1", key, value));
}

inline Result<> check_range(std::string_view key, std::uint64_t value, std::uint64_t low,
                            std::uint64_t high) {
  if (value >= low && value <= high) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is {}; it must be {}..{}", key, value, low, high));
}

}  // namespace fovea
