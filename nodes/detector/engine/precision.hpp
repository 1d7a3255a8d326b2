// The arithmetic of a layer, a plan or an engine, and its words: those of the command line, of the
// keys of the plan cache and of the plan file. `best` is a wish (EngineRequest), no precision.
//
// Thread safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fovea::engine {

// Plan files hold these numbers for their layers.
enum class Precision : std::uint8_t { kFp32, kFp16, kInt8, kBf16 };

inline constexpr std::array<std::string_view, 4> kPrecisionNames{"fp32", "fp16", "int8", "bf16"};

constexpr std::string_view to_string(Precision precision) {
  const auto index = static_cast<std::size_t>(precision);
  return index < kPrecisionNames.size() ? kPrecisionNames[index] : "invalid";
}
constexpr std::optional<Precision> parse_precision(std::string_view text) {
  for (std::size_t i = 0; i < kPrecisionNames.size(); ++i) {
    if (kPrecisionNames[i] == text) return static_cast<Precision>(i);
  }
  return std::nullopt;
}

}  // namespace fovea::engine
