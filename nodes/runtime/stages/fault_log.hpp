// What is wrong with the frames that come now on one topic: logged when it begins and when it is
// over, however many frames it lasts, and kept to be shown as a node's status meanwhile.
//
// Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "msgs/node_status.hpp"
#include "nodes/base/result.hpp"

namespace fovea {

class FaultLog {
 public:
  explicit FaultLog(std::string topic) : topic_(std::move(topic)) {}

  // Frame `seq` has this fault. Of kCorrupt, whose numbers vary from frame to frame, only the first
  // text counts; of the other kinds another text is another fault. True when this one is new.
  bool begin(ErrorCode kind, std::string_view text, std::uint64_t seq);
  // Frame `seq` is good. True when the one before it was not.
  bool clear(std::uint64_t seq);

  bool any() const { return !text_.empty(); }
  // kWarn for faults of the content (kCorrupt) and of what is not here yet (kUnavailable).
  msgs::DiagnosticLevel level() const;
  // `cam0/image: frames are refused: ...`; empty when nothing is wrong.
  std::string status() const;

 private:
  bool may_log();

  std::string topic_;
  std::string text_;  // of the fault that lasts; empty = none
  ErrorCode kind_ = ErrorCode::kInternal;
  // Faults that come and go with every frame must not fill the log.
  double lines_left_ = kBurst;
  std::int64_t refilled_ns_ = 0;

  static constexpr double kBurst = 10;  // lines; one more for every second
};

}  // namespace fovea
