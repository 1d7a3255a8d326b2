// Frames of one source on `<camera>/image`, where <camera> is the node's name. A capture thread
// waits for the source and writes each frame straight into a loaned slot; a source that fails or
// stalls is reported and reopened while the node stays up.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include "msgs/image.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/camera/frame_source.hpp"
#include "nodes/camera/source_supervisor.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/node.hpp"
#include "nodes/runtime/stages/reliability.hpp"

namespace fovea {
namespace {

using frames::GrabStatus;
using frames::SourceState;
using std::chrono::milliseconds;

constexpr std::size_t kMostBadItems = 1000;

double seconds(std::chrono::duration<double> value) { return value.count(); }

class CameraNode final : public Node {
 public:
  CameraNode() : Node("camera", "Captures frames from a camera, stream, file or synthetic scene") {}

  void declare_parameters(ParameterSet& p) override {
    p.add("uri", &uri_, "file://, images://, bag://, synthetic://, v4l2:// or rtsp:// source")
        .checked_by([](std::string_view uri) -> Result<> {
          FOVEA_TRY(frames::make_frame_source(uri, {}));
          return {};
        })
        .required();
    p.add("rate", &rate_, "Frames per second; 0 = the source's own, -1 = as fast as possible",
          Range{-1, 1000}, "Hz");
    p.add("phase", &phase_,
          "Part of a period, by the monotonic clock, at which frames of a file are due; -1 = from "
          "the first frame on",
          Range{-1, 0.999999});
    p.add("loop", &loop_, "Start a file or folder over at its end");
    p.add("start_offset", &start_offset_, "Where to start in a file", Range{0, 1e6}, "s");
    p.add("width", &width_, "Requested width; 0 = the source's choice", Range{0, 16384}, "px");
    p.add("height", &height_, "Requested height; 0 = the source's choice", Range{0, 16384}, "px");
    p.add("fps", &fps_, "Requested frame rate of a device; 0 = its choice", Range{0, 1000}, "Hz");
    p.add("seed", &seed_, "Seed of a synthetic scene", Range{0, 9e15});
    p.add("max_pixels", &max_pixels_,
          "Frames and pictures with more pixels than this are errors; checked before decoding",
          Range{1, 1 << 30}, "px");
    p.add("slots", &slots_, "Shared-memory slots", Range{2, 64});
    p.add("no_frame_timeout", &no_frame_timeout_,
          "Silence after which a live source counts as stalled", Range{0.01, 3600}, "s");
    p.add("reconnect_after", &reconnect_after_, "Silence after which a live source is reopened",
          Range{0.01, 3600}, "s");
    p.add("max_attempts", &max_attempts_, "Attempts to open before giving up; 0 = never give up",
          Range{0, 1e9});
    p.add("subscriber_timeout", &subscriber_timeout_,
          "How long the first frame waits for a subscriber, so that none is taken in vain",
          Range{0, 3600}, "s");
    add_reliability(p, &reliability_);
  }

  Result<> on_configure() override {
    if (no_frame_timeout_ > reconnect_after_) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("no_frame_timeout is {} s; it must not exceed reconnect_after, {} s",
                              seconds(no_frame_timeout_), seconds(reconnect_after_)));
    }
    frames::SourceOptions options;
    options.rate = rate_ < 0 ? frames::kAsFastAsPossible : rate_;
    if (phase_ >= 0) options.phase = phase_;
    options.loop = loop_;
    options.start_offset = start_offset_;
    options.width = static_cast<std::uint32_t>(width_);
    options.height = static_cast<std::uint32_t>(height_);
    options.fps = fps_;
    options.seed = static_cast<std::uint64_t>(seed_);
    options.max_pixels = static_cast<std::uint64_t>(max_pixels_);
    FOVEA_ASSIGN(source_, frames::make_frame_source(uri_, options));
    ledger_.emplace(metrics(), name());
    FOVEA_ASSIGN(auto images, Publisher<msgs::Image>::create(
                                  domain(), name() + "/image", {.reliability = reliability_},
                                  {.slot_count = static_cast<std::uint32_t>(slots_)}, &*ledger_));
    images_.emplace(std::move(images));
    bytes_written_ = &metrics().counter("bytes_written", name());
    bytes_copied_ = &metrics().counter("bytes_copied", name());
    source_state_ = &metrics().counter("source_state", name());
    *source_state_ =
        static_cast<std::uint64_t>(SourceState::kReconnecting);  // not its predecessor's
    reconnects_ = &metrics().counter("source_reconnects", name());
    stalls_ = &metrics().counter("source_stalls", name());
    skipped_ = &metrics().counter("deadlines_skipped", name());
    return {};
  }

  Result<> on_activate() override {
    capture_ = std::jthread([this](const std::stop_token& stop) { capture(stop); });
    return {};
  }

  Result<> on_deactivate() override {
    capture_.request_stop();
    images_->interrupt();
    capture_.join();
    return {};
  }

  Result<> on_cleanup() override {
    source_.reset();
    images_.reset();
    ledger_.reset();
    return {};
  }

 private:
  void capture(const std::stop_token& stop) {
    frames::SupervisorOptions options;
    options.no_frame_timeout = no_frame_timeout_;
    options.reconnect_after = reconnect_after_;
    options.max_attempts = static_cast<std::uint32_t>(max_attempts_);
    options.seed = std::hash<std::string>{}(name());
    frames::SourceSupervisor supervisor(
        *source_, options, [this](const frames::SourceEvent& event) { report(event); });
    wait_for_subscription(*images_, subscriber_timeout_, [&] { return stop.stop_requested(); });
    while (!stop.stop_requested() && !supervisor.finished()) {
      const frames::Grab grab = supervisor.grab(milliseconds(500), stop);
      if (grab.status == GrabStatus::kFrame) {
        publish(grab.frame);
      } else if (grab.status == GrabStatus::kBadFrame) {
        ledger_->capture();
        count_bad(grab.frame.index, grab.detail);
      }
      for (std::string text = source_->take_warning(); !text.empty();
           text = source_->take_warning()) {
        log_warning("{}", text);
      }
      *bytes_copied_ = source_->counters().bytes_copied;
      *reconnects_ = supervisor.counters().reconnects;
      *stalls_ = supervisor.counters().stalls;
      *skipped_ = source_->counters().deadlines_skipped;
    }
    if (bad_frames_ > 1) {
      log_warning("{}: {} of {} frames could not be read", source_->name(), bad_frames_,
                  bad_frames_ + source_->counters().frames);
    }
  }

  // A camera with a bad cable must not fill the log: the first bad frame is told, and the sum at
  // the end; of a folder and a recording the first of each part that is bad.
  void count_bad(std::uint64_t index, std::string_view reason) {
    ledger_->drop(DropReason::kError);
    ++bad_frames_;
    if (bad_items_.size() == kMostBadItems) return;
    if (!bad_items_.insert(std::string(source_->item())).second) return;
    log_warning("{}: frame {}: {}", source_->name(), index, reason);
    if (bad_items_.size() == kMostBadItems) {
      log_warning("{}: further parts that cannot be read are counted only", source_->name());
    }
  }

  void publish(const frames::FrameInfo& frame) {
    msgs::Image image;
    image.header.seq = ledger_->capture();
    const std::size_t bytes = frames::frame_bytes(frame);
    auto slot = images_->loan(bytes);
    if (!slot) return;  // the publisher has counted it
    const std::size_t step = std::size_t{3} * frame.width;
    if (auto written = source_->retrieve({slot->data().data(), frame.width, frame.height, step});
        !written) {
      count_bad(frame.index, written.error().message);
      return;
    }
    *bytes_written_ += bytes;
    image.header.stamp_monotonic = frame.stamp_monotonic;
    image.header.stamp_realtime = frame.stamp_realtime;
    image.header.frame_id = std::string_view(name());
    image.header.stages.push_back(
        {std::string_view(type()), frame.stamp_monotonic, monotonic_ns()});
    image.height = frame.height;
    image.width = frame.width;
    image.step = static_cast<std::uint32_t>(step);
    image.encoding = source_->info().encoding;
    images_->publish(image, std::move(*slot), bytes);
  }

  void report(const frames::SourceEvent& event) {
    *source_state_ = static_cast<std::uint64_t>(event.to);
    switch (event.to) {
      case SourceState::kConnected:
        log_info("{} connected: {}x{}", source_->name(), source_->info().width,
                 source_->info().height);
        if (!source_->info().warning.empty()) {
          log_warning("{}: {}", source_->name(), source_->info().warning);
        }
        set_status(msgs::DiagnosticLevel::kOk, "");
        break;
      case SourceState::kEnded:
        log_info("{} ended", source_->name());
        set_status(msgs::DiagnosticLevel::kOk, "ended");
        break;
      case SourceState::kFailed:
        log_error("{}: {}; gave up after {} attempts", source_->name(), event.reason,
                  event.attempt);
        set_status(msgs::DiagnosticLevel::kError, event.reason);
        break;
      case SourceState::kStalled:
        log_warning("{} stalled: {}", source_->name(), event.reason);
        set_status(msgs::DiagnosticLevel::kWarn, "stalled: " + event.reason);
        break;
      case SourceState::kReconnecting:
        log_warning("{}; next attempt in {} ms", event.reason,
                    std::chrono::duration_cast<milliseconds>(event.delay).count());
        set_status(msgs::DiagnosticLevel::kWarn, "reconnecting: " + event.reason);
        break;
    }
  }

  std::string uri_;
  double rate_ = 0;
  double phase_ = -1;
  bool loop_ = false;
  double start_offset_ = 0;
  std::int64_t width_ = 0;
  std::int64_t height_ = 0;
  double fps_ = 0;
  std::int64_t seed_ = 1;
  std::int64_t max_pixels_ = imaging::kDefaultMaxPixels;
  std::int64_t slots_ = 4;
  frames::Nanoseconds no_frame_timeout_ = frames::SupervisorOptions().no_frame_timeout;
  frames::Nanoseconds reconnect_after_ = frames::SupervisorOptions().reconnect_after;
  std::int64_t max_attempts_ = 0;
  frames::Nanoseconds subscriber_timeout_ = std::chrono::seconds(5);
  Reliability reliability_ = Reliability::kBestEffort;

  std::unique_ptr<frames::FrameSource> source_;
  std::optional<StageLedger> ledger_;
  std::optional<Publisher<msgs::Image>> images_;  // used by the capture thread
  Counter* bytes_written_ = nullptr;
  Counter* bytes_copied_ = nullptr;
  Counter* source_state_ = nullptr;
  Counter* reconnects_ = nullptr;
  Counter* stalls_ = nullptr;
  Counter* skipped_ = nullptr;
  std::uint64_t bad_frames_ = 0;
  std::set<std::string> bad_items_;  // parts that a warning named; an empty one is the source
  std::jthread capture_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<CameraNode>(); }

}  // namespace fovea
