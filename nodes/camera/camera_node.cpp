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
        .names_what([](std::string_view uri) -> Result<> {
          FOVEA_ASSIGN(const auto source, frames::make_frame_source(uri, {}));
          return source->check_files();
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

  Result<> check_parameters() const override {
    if (no_frame_timeout_ > reconnect_after_) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("no_frame_timeout is {} s; it must not exceed reconnect_after, {} s",
                              seconds(no_frame_timeout_), seconds(reconnect_after_)));
    }
    return {};
  }

  Result<> on_configure() override {
    frames::SourceOptions options;
    options.rate = rate_ < 0 ? frames::kAsFastAsPossible : rate_;
    if (phase_ >= 0) options.phase = phase_;
    options.loop = loop_;
    options.start_offset = start_offset_;
    options.width = width_;
    options.height = height_;
    options.fps = fps_;
    options.seed = seed_;
    options.max_pixels = max_pixels_;
    auto configured = std::make_unique<Configured>(metrics(), name());
    FOVEA_ASSIGN(configured->source, frames::make_frame_source(uri_, options));
    FOVEA_ASSIGN(auto images, Publisher<msgs::Image>::create(
                                  domain(), name() + "/image", {.reliability = reliability_},
                                  {.slot_count = slots_}, &configured->ledger));
    configured->images.emplace(std::move(images));
    configured->source_state =
        static_cast<std::uint64_t>(SourceState::kReconnecting);  // not its predecessor's
    configured_ = std::move(configured);
    return {};
  }

  Result<> on_activate() override {
    capture_ = std::jthread([this](const std::stop_token& stop) { capture(stop); });
    return {};
  }

  Result<> on_deactivate() override {
    capture_.request_stop();
    configured_->images->interrupt();
    capture_.join();
    return {};
  }

  Result<> on_cleanup() override {
    configured_.reset();
    return {};
  }

 private:
  // The capture thread's while it runs.
  struct Configured {
    Configured(MetricsPage& page, const std::string& camera)
        : ledger(page, camera),
          bytes_written(page.counter("bytes_written", camera)),
          bytes_copied(page.counter("bytes_copied", camera)),
          source_state(page.counter("source_state", camera)),
          reconnects(page.counter("source_reconnects", camera)),
          stalls(page.counter("source_stalls", camera)),
          skipped(page.counter("deadlines_skipped", camera)) {}

    std::unique_ptr<frames::FrameSource> source;
    StageLedger ledger;
    std::optional<Publisher<msgs::Image>> images;
    Counter& bytes_written;
    Counter& bytes_copied;
    Counter& source_state;
    Counter& reconnects;
    Counter& stalls;
    Counter& skipped;
    std::uint64_t bad_frames = 0;
    std::set<std::string> bad_items;  // parts that a warning named; an empty one is the source
  };

  void capture(const std::stop_token& stop) {
    frames::SupervisorOptions options;
    options.no_frame_timeout = no_frame_timeout_;
    options.reconnect_after = reconnect_after_;
    options.max_attempts = max_attempts_;
    options.seed = std::hash<std::string>{}(name());
    frames::FrameSource& source = *configured_->source;
    frames::SourceSupervisor supervisor(
        source, options, [this](const frames::SourceEvent& event) { report(event); });
    wait_for_subscription(*configured_->images, subscriber_timeout_,
                          [&] { return stop.stop_requested(); });
    while (!stop.stop_requested() && !supervisor.finished()) {
      const frames::Grab grab = supervisor.grab(milliseconds(500), stop);
      if (grab.status == GrabStatus::kFrame) {
        publish(grab.frame);
      } else if (grab.status == GrabStatus::kBadFrame) {
        configured_->ledger.capture();
        count_bad(grab.frame.index, grab.detail);
      }
      for (std::string text = source.take_warning(); !text.empty(); text = source.take_warning()) {
        log_warning("{}", text);
      }
      configured_->bytes_copied = source.counters().bytes_copied;
      configured_->reconnects = supervisor.counters().reconnects;
      configured_->stalls = supervisor.counters().stalls;
      configured_->skipped = source.counters().deadlines_skipped;
    }
    if (const std::uint64_t bad = configured_->bad_frames; bad > 1) {
      log_warning("{}: {} of {} frames could not be read", source.name(), bad,
                  bad + source.counters().frames);
    }
  }

  // A camera with a bad cable must not fill the log: the first bad frame is told, and the sum at
  // the end; of a folder and a recording the first of each part that is bad.
  void count_bad(std::uint64_t index, std::string_view reason) {
    const frames::FrameSource& source = *configured_->source;
    std::set<std::string>& told = configured_->bad_items;
    configured_->ledger.drop(DropReason::kError);
    ++configured_->bad_frames;
    if (told.size() == kMostBadItems) return;
    if (!told.insert(std::string(source.item())).second) return;
    log_warning("{}: frame {}: {}", source.name(), index, reason);
    if (told.size() == kMostBadItems) {
      log_warning("{}: further parts that cannot be read are counted only", source.name());
    }
  }

  void publish(const frames::FrameInfo& frame) {
    msgs::Image image;
    image.header.seq = configured_->ledger.capture();
    const std::size_t bytes = frames::frame_bytes(frame);
    auto slot = configured_->images->loan(bytes);
    if (!slot) return;  // the publisher has counted it
    const std::size_t step = std::size_t{3} * frame.width;
    frames::FrameSource& source = *configured_->source;
    if (auto written = source.retrieve({slot->data().data(), frame.width, frame.height, step});
        !written) {
      count_bad(frame.index, written.error().message);
      return;
    }
    configured_->bytes_written += bytes;
    image.header.stamp_monotonic = frame.stamp_monotonic;
    image.header.stamp_realtime = frame.stamp_realtime;
    image.header.frame_id = std::string_view(name());
    image.header.stages.push_back(
        {std::string_view(type()), frame.stamp_monotonic, monotonic_ns()});
    image.height = frame.height;
    image.width = frame.width;
    image.step = static_cast<std::uint32_t>(step);
    image.encoding = source.info().encoding;
    configured_->images->publish(image, std::move(*slot), bytes);
  }

  void report(const frames::SourceEvent& event) {
    const frames::FrameSource& source = *configured_->source;
    configured_->source_state = static_cast<std::uint64_t>(event.to);
    switch (event.to) {
      case SourceState::kConnected:
        log_info("{} connected: {}x{}", source.name(), source.info().width, source.info().height);
        if (!source.info().warning.empty()) {
          log_warning("{}: {}", source.name(), source.info().warning);
        }
        set_status(msgs::DiagnosticLevel::kOk, "");
        break;
      case SourceState::kEnded:
        log_info("{} ended", source.name());
        set_status(msgs::DiagnosticLevel::kOk, "ended");
        break;
      case SourceState::kFailed:
        log_error("{}: {}; gave up after {} attempts", source.name(), event.reason, event.attempt);
        set_status(msgs::DiagnosticLevel::kError, event.reason);
        break;
      case SourceState::kStalled:
        log_warning("{} stalled: {}", source.name(), event.reason);
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
  std::uint32_t width_ = 0;
  std::uint32_t height_ = 0;
  double fps_ = 0;
  std::uint64_t seed_ = 1;
  std::uint64_t max_pixels_ = imaging::kDefaultMaxPixels;
  std::uint32_t slots_ = 4;
  frames::Nanoseconds no_frame_timeout_ = frames::SupervisorOptions().no_frame_timeout;
  frames::Nanoseconds reconnect_after_ = frames::SupervisorOptions().reconnect_after;
  std::uint32_t max_attempts_ = 0;
  frames::Nanoseconds subscriber_timeout_ = std::chrono::seconds(5);
  Reliability reliability_ = Reliability::kBestEffort;

  std::unique_ptr<Configured> configured_;
  std::jthread capture_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<CameraNode>(); }

}  // namespace fovea
