#include "launch/language/values.hpp"

#include <algorithm>
#include <map>

#include <fmt/core.h>

namespace fovea::launch {

std::optional<bool> to_bool(std::string_view text) {
  if (text == "true" || text == "True" || text == "1") return true;
  if (text == "false" || text == "False" || text == "0") return false;
  return std::nullopt;
}

std::optional<std::uint64_t> to_bytes(std::string_view text) {
  static const std::map<std::string_view, double> kUnits{
      {"", 1.0},       {"B", 1.0},  {"KiB", 0x1p10}, {"MiB", 0x1p20},
      {"GiB", 0x1p30}, {"KB", 1e3}, {"MB", 1e6},     {"GB", 1e9}};
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto number = to_number<double>(text.substr(0, digits));
  std::string_view unit = text.substr(digits);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const auto factor = kUnits.find(unit);
  if (!number || factor == kUnits.end() || *number * factor->second >= 0x1p62) return std::nullopt;
  return static_cast<std::uint64_t>(*number * factor->second);
}

std::string format_bytes(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= 1u << 30) return fmt::format("{:.1f} GiB", value / 0x1p30);
  if (bytes >= 1u << 20) return fmt::format("{:.1f} MiB", value / 0x1p20);
  if (bytes >= 1u << 10) return fmt::format("{:.1f} KiB", value / 0x1p10);
  return fmt::format("{} B", bytes);
}

}  // namespace fovea::launch
