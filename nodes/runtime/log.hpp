// Logging for nodes and tools: one line a message on stderr, `[12:34:56.789] [cam0] [warning]
// text`. A thin face over spdlog, so that headers stay free of it. Thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"

namespace fovea {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// `name` leads every line; `level` is the least that is shown. Called once by main(); before that,
// lines are led by "fovea" and start at kInfo. Colours only on a terminal and without $NO_COLOR.
void init_logging(std::string_view name, LogLevel level);
bool log_enabled(LogLevel level);
// `text` is shown by one_line() and without_secrets() (base/text.hpp): what a peer sent cannot forge
// lines or drive a terminal, and no password of an address is written down.
void log_message(LogLevel level, std::string_view text);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (!log_enabled(LogLevel::kDebug)) return;
  log_message(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (!log_enabled(LogLevel::kInfo)) return;
  log_message(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (!log_enabled(LogLevel::kWarning)) return;
  log_message(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  if (!log_enabled(LogLevel::kError)) return;
  log_message(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace fovea
