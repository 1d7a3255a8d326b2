#include "nodes/runtime/log.hpp"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include "nodes/base/terminal.hpp"
#include "nodes/base/text.hpp"

namespace fovea {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view colour_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::debug:
      return "\x1b[36m";
    case spdlog::level::info:
      return "\x1b[32m";
    case spdlog::level::warn:
      return "\x1b[33m\x1b[1m";
    default:
      return "\x1b[31m\x1b[1m";
  }
}

// spdlog's own sinks wait for as long as stderr's reader does.
class StderrSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t buffer;
    formatter_->format(message, buffer);
    std::string line(buffer.data(), buffer.size());
    while (line.ends_with('\n')) line.pop_back();
    if (colours_ && message.color_range_end > message.color_range_start) {
      line.insert(message.color_range_end, "\x1b[m");
      line.insert(message.color_range_start, colour_of(message.level));
    }
    print_line(STDERR_FILENO, line);
  }
  void flush_() override {}

 private:
  const bool colours_ = std::getenv("NO_COLOR") == nullptr && isatty(STDERR_FILENO) != 0;
};

std::shared_ptr<spdlog::logger> make_logger(std::string_view name, LogLevel level) {
  auto sink = std::make_shared<StderrSink>();
  auto logger = std::make_shared<spdlog::logger>(std::string(name), std::move(sink));
  logger->set_pattern("[%H:%M:%S.%e] [%n] [%^%l%$] %v");
  logger->set_level(to_spdlog(level));
  return logger;
}

std::mutex logger_mutex;

std::shared_ptr<spdlog::logger>& logger_slot() {
  static std::shared_ptr<spdlog::logger> logger = make_logger("fovea", LogLevel::kInfo);
  return logger;
}

// Kept apart from the logger so that a message below the level costs one load.
std::atomic<LogLevel> least_level{LogLevel::kInfo};

}  // namespace

void init_logging(std::string_view name, LogLevel level) {
  auto logger = make_logger(name, level);
  const std::lock_guard lock(logger_mutex);
  logger_slot() = std::move(logger);
  least_level.store(level, std::memory_order_relaxed);
}

bool log_enabled(LogLevel level) { return level >= least_level.load(std::memory_order_relaxed); }

void log_message(LogLevel level, std::string_view text) {
  if (!log_enabled(level)) return;
  std::shared_ptr<spdlog::logger> logger;
  {
    const std::lock_guard lock(logger_mutex);
    logger = logger_slot();
  }
  logger->log(to_spdlog(level), "{}", one_line(without_secrets(text)));
}

}  // namespace fovea
