// Logging for nodes and tools: one line a message on stderr, `[12:34:56.789] [cam0] [warning] text`.
// A thin face over spdlog, so that headers stay free of it. Thread-safe.
#pragma once

#include <string_view>

#include <fmt/core.h>

namespace fovea {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// `name` leads every line; `level` is the least that is shown. Called once by main().
void init_logging(std::string_view name, LogLevel level);
void log_message(LogLevel level, std::string_view text);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace fovea
