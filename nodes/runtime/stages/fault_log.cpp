#include "nodes/runtime/stages/fault_log.hpp"

#include <algorithm>

#include <fmt/core.h>

#include "nodes/base/clock.hpp"
#include "nodes/runtime/log.hpp"

namespace fovea {

bool FaultLog::begin(ErrorCode kind, std::string_view text, std::uint64_t seq) {
  if (any() && kind == kind_ && (kind == ErrorCode::kCorrupt || text == text_)) return false;
  kind_ = kind;
  text_ = text;
  if (may_log()) log_warning("{}: from frame {} on: {}", topic_, seq, text_);
  return true;
}

bool FaultLog::clear(std::uint64_t seq) {
  if (!any()) return false;
  text_.clear();
  if (may_log()) log_info("{}: frame {} is good again", topic_, seq);
  return true;
}

msgs::DiagnosticLevel FaultLog::level() const {
  if (!any()) return msgs::DiagnosticLevel::kOk;
  return kind_ == ErrorCode::kCorrupt || kind_ == ErrorCode::kUnavailable
             ? msgs::DiagnosticLevel::kWarn
             : msgs::DiagnosticLevel::kError;
}

std::string FaultLog::status() const { return any() ? fmt::format("{}: {}", topic_, text_) : ""; }

bool FaultLog::may_log() {
  const std::int64_t now = monotonic_ns();
  if (refilled_ns_ != 0) {
    lines_left_ = std::min(kBurst, lines_left_ + static_cast<double>(now - refilled_ns_) / 1e9);
  }
  refilled_ns_ = now;
  if (lines_left_ < 1) return false;
  lines_left_ -= 1;
  return true;
}

}  // namespace fovea
