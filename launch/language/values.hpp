// Text of launch files and command lines as values; nullopt for anything else than the whole text.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fovea::launch {

// "true", "True", "1"; "false", "False", "0".
std::optional<bool> to_bool(std::string_view text);

// "33554432", "32MiB", "1.5 GiB".
std::optional<std::uint64_t> to_bytes(std::string_view text);

template <class T>
std::optional<T> to_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "25.0 MiB", for messages.
std::string format_bytes(std::uint64_t bytes);

}  // namespace fovea::launch
