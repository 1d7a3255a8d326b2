// Records topics into MCAP files. It is one more subscriber: messages leave their slots as soon as
// they arrive, so it can slow nobody down, and what a slow or full disk costs is counted. In its
// ledger a message is out when it is in the file, and in process until then.
#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "msgs/cdr.hpp"
#include "msgs/detection.hpp"
#include "msgs/image.hpp"
#include "msgs/model_info.hpp"
#include "msgs/node_status.hpp"
#include "msgs/tensor.hpp"
#include "nodes/bag/recording.hpp"
#include "nodes/bag/standard_record.hpp"
#include "nodes/bag/topic_type.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/file_handle.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/node.hpp"
#include "nodes/runtime/stages/reliability.hpp"

namespace fovea {
namespace {

class RecorderNode final : public Node {
 public:
  RecorderNode() : Node("recorder", "Records topics into MCAP files") {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, nullptr);  // before any thread starts
    trigger_ = FileHandle(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  // A launcher and a terminal may both tell it to stop; the file is closed all the same.
  int stop_signals_to_abort() const override { return 3; }

  void declare_parameters(ParameterSet& p) override {
    p.add("topics", &topics_, "Topics to record").required();
    p.add("optional_topics", &optional_topics_,
          "Topics to record where somebody publishes them; that nobody does is no fault");
    p.add("path", &path_,
          "File to create; with several files (max_file_mb, ring) a number follows its name")
        .required();
    p.add("overwrite", &overwrite_, "An existing file of that name gives way");
    p.add("standard_messages", &standard_messages_,
          "Beside what was found also the same as messages of vision_msgs and Foxglove, for tools "
          "that "
          "do not know Fovea's: <topic>/vision_msgs, <topic>/foxglove");
    p.add("image_format",
          choice(&image_format_,
                 {{"jpeg", bag::ImageFormat::kJpeg}, {"raw", bag::ImageFormat::kRaw}}),
          "How pictures are kept");
    p.add("jpeg_quality", &jpeg_quality_, "Quality of JPEG pictures", Range{1, 100});
    p.add("compression",
          choice(&compression_,
                 {{"zstd", mcap::Compression::kZstd}, {"none", mcap::Compression::kNone}}),
          "How the file's chunks are packed");
    p.add("max_file_mb", &max_file_mb_, "Start a new file at this size; 0 = one file",
          Range{0, 1e7}, "MB");
    p.add("queue_mb", &queue_mb_, "Most that waits for the disk; what comes beyond it is dropped",
          Range{1, 1e6}, "MB");
    p.add("ring", &ring_,
          "Keep the last seconds in memory and write them only when told by `fovea bag trigger`; "
          "0 = write everything",
          Range{0, 3600}, "s");
    p.add("after_trigger", &after_trigger_, "How long writing goes on after a trigger",
          Range{0, 3600}, "s");
    p.add("depth", &depth_, "Messages of a topic that may wait to be taken out of their slots",
          Range{1, 64});
    add_reliability(p, &reliability_,
                    "reliable: a publisher that is reliable too waits for this recorder");
  }

  Result<> on_configure() override {
    auto configured = std::make_unique<Configured>();
    std::vector<bag::RecordedTopic> recorded;
    for (const std::string& topic : topics_) {
      FOVEA_TRY(add_topic(configured->taps, topic));
      recorded.push_back(configured->taps.back()->describe());
    }
    for (const std::string& topic : optional_topics_) {
      FOVEA_TRY(add_topic(configured->taps, topic));
      recorded.push_back(configured->taps.back()->describe());
      metrics().counter(kTopicReads, topic, topic) = 0;  // the graph needs no writer of it
    }
    for (auto& tap : configured->taps) {
      const bag::StandardType* type = standard_messages_ ? tap->standard() : nullptr;
      if (type == nullptr) continue;
      tap->standard_index = recorded.size();
      recorded.push_back({fmt::format("{}{}", tap->topic, type->suffix),
                          std::string(type->schema_name), std::string(type->schema), false});
    }
    bag::RecordingOptions options;
    options.path = path_of_this_run();
    options.writer.overwrite = overwrite_;
    options.writer.compression = compression_;
    options.image_format = image_format_;
    options.jpeg_quality = jpeg_quality_;
    options.max_file_bytes = static_cast<std::uint64_t>(max_file_mb_ * 1e6);
    options.queue_bytes = static_cast<std::size_t>(queue_mb_ * 1e6);
    options.ring_ns = ring_.count();
    options.after_trigger_ns = after_trigger_.count();
    options.on_outcome = [&taps = configured->taps](std::size_t topic, bag::Outcome outcome,
                                                    std::uint64_t count) {
      if (topic < taps.size()) settle(taps[topic]->ledger, outcome, count);
    };
    options.on_error = [this] { executor().post([this] { watch(); }); };
    FOVEA_ASSIGN(configured->recording, bag::Recording::create(options, std::move(recorded)));
    configured_ = std::move(configured);
    return {};
  }

  // What a recorder that was killed has saved stays; its successor goes on beside it: run.mcap, run-2.mcap.
  std::filesystem::path path_of_this_run() {
    std::filesystem::path path = path_;
    const std::uint32_t start = metrics().starts();
    const bool numbered = max_file_mb_ > 0 || ring_.count() > 0;  // those count on by themselves
    if (start > 1 && !numbered) {
      path.replace_filename(
          fmt::format("{}-{}{}", path.stem().native(), start, path.extension().native()));
    }
    return path;
  }

  Result<> on_activate() override {
    for (auto& tap : configured_->taps) tap->start(*this);
    executor().add_fd(trigger_.get(), [this] { on_trigger(); });
    executor().add_timer(std::chrono::seconds(1), [this] { watch(); });
    return {};
  }

  Result<> on_deactivate() override {
    for (auto& tap : configured_->taps)
      tap->drain(*this);  // what already arrived is still recorded
    return {};
  }

  Result<> on_cleanup() override {
    std::map<std::string, std::string> summary;
    for (const auto& tap : configured_->taps) {
      summary[tap->topic + ".dropped"] = std::to_string(tap->dropped());
    }
    const Result<> closed = configured_->recording->close(summary);
    report();
    configured_.reset();
    return closed;
  }

 private:
  using Drops = std::array<std::uint64_t, kDropReasons>;

  // One topic, whatever it carries.
  struct Tap {
    Tap(std::string name, std::size_t number, MetricsPage& page)
        : topic(std::move(name)),
          index(number),
          ledger(page, topic, FirstMessage::kSetsBase),
          received_before(ledger.in()),
          drops_before(all_drops()) {}
    virtual ~Tap() = default;
    virtual bag::RecordedTopic describe() const = 0;
    // What else its messages can be recorded as; null: nothing.
    virtual const bag::StandardType* standard() const = 0;
    virtual void start(RecorderNode& node) = 0;
    virtual void drain(RecorderNode& node) = 0;

    // Of this recording, without those of a predecessor that was killed.
    std::uint64_t received() const { return ledger.in() - received_before; }
    Drops drops() const {
      Drops since = all_drops();
      for (std::size_t reason = 0; reason < kDropReasons; ++reason) {
        since[reason] -= drops_before[reason];
      }
      return since;
    }
    std::uint64_t dropped() const {
      const Drops since = drops();
      return std::accumulate(since.begin(), since.end(), std::uint64_t{0});
    }
    Drops all_drops() const {
      Drops all{};
      for (std::size_t reason = 0; reason < kDropReasons; ++reason) {
        all[reason] = ledger.drops(static_cast<DropReason>(reason));
      }
      return all;
    }

    std::string topic;
    std::size_t index;
    std::size_t standard_index = 0;  // in the recording, behind all taps; 0: not recorded as that
    StageLedger ledger;
    const std::uint64_t received_before;
    const Drops drops_before;
  };

  template <class M>
  struct TypedTap final : Tap {
    using Tap::Tap;
    bag::RecordedTopic describe() const override {
      return {topic, msgs::ros2_name<M>(), msgs::ros2_schema<M>(), std::is_same_v<M, msgs::Image>};
    }
    const bag::StandardType* standard() const override {
      if constexpr (bag::HasStandardType<M>) {
        return &bag::standard_type(M{});
      } else {
        return nullptr;
      }
    }
    void start(RecorderNode& node) override {
      node.spin(*subscription,
                [this, &node](Received<M>&& received) { node.take(*this, received); });
    }
    void drain(RecorderNode& node) override {
      subscription->drain();
      while (auto received = subscription->take()) node.take(*this, *received);
    }
    std::optional<Subscription<M>> subscription;
  };

  using Taps = std::vector<std::unique_ptr<Tap>>;

  struct Configured {
    Taps taps;
    std::unique_ptr<bag::Recording> recording;  // its threads use the taps' ledgers
    std::uint64_t reported_drops = 0;
    bool ended = false;  // by an error, which was told
  };

  Result<> add_topic(Taps& taps, const std::string& topic) {
    return bag::with_type_of(topic, [&]<class M>(std::type_identity<M>) -> Result<> {
      auto tap = std::make_unique<TypedTap<M>>(topic, taps.size(), metrics());
      QoS qos{.depth = depth_, .reliability = reliability_};
      if (!HasPayload<M>) qos.depth = 64;  // they are small, and hold nothing
      FOVEA_ASSIGN(auto subscription, Subscription<M>::create(domain(), topic, qos, &tap->ledger));
      tap->subscription.emplace(std::move(subscription));
      taps.push_back(std::move(tap));
      return {};
    });
  }

  template <class M>
  static constexpr bool HasPayload = detail::HasPayload<M>;

  template <class M>
  void take(Tap& tap, Received<M>& received) {
    bag::Item item;
    item.topic = tap.index;
    item.sequence = static_cast<std::uint32_t>(received.message.header.seq);
    item.log_time = realtime_ns();
    item.publish_time = received.message.header.stamp_realtime;
    item.data = configured_->recording->buffer();
    if constexpr (std::is_same_v<M, msgs::Image>) {
      const auto pixels = received.buffer.data();
      item.data.assign(pixels.begin(), pixels.end());
      item.height = received.message.height;
      item.width = received.message.width;
      item.step = received.message.step;
      item.encoding = received.message.encoding;
      item.frame_id = received.message.header.frame_id.view();
    } else {
      msgs::to_cdr(received.message, received.buffer.data(), item.data);
    }
    received.buffer = {};  // the publisher may have its slot back
    if constexpr (bag::HasStandardType<M>) {
      // A copy of what is counted above: it is in no ledger.
      if (tap.standard_index != 0) {
        bag::Item copy{.topic = tap.standard_index,
                       .sequence = item.sequence,
                       .log_time = item.log_time,
                       .publish_time = item.publish_time,
                       .data = configured_->recording->buffer(),
                       .frame_id = {}};
        bag::to_standard_cdr(received.message, copy.data);
        static_cast<void>(configured_->recording->push(std::move(copy)));
      }
    }
    switch (configured_->recording->push(std::move(item))) {
      case bag::Push::kTaken:
        break;
      case bag::Push::kFull:
        tap.ledger.drop(DropReason::kPoolExhausted);  // the recorder's own memory
        break;
      case bag::Push::kEnded:
        tap.ledger.drop(DropReason::kError);
        break;
    }
  }

  static void settle(StageLedger& ledger, bag::Outcome outcome, std::uint64_t count) {
    if (outcome == bag::Outcome::kFailed) {
      ledger.drop(DropReason::kError, count);
    } else {
      for (std::uint64_t i = 0; i < count; ++i) ledger.depart();
    }
  }

  void on_trigger() {
    signalfd_siginfo info{};
    while (read(trigger_.get(), &info, sizeof info) == sizeof info) {
      if (ring_.count() > 0) {
        const auto seconds = [](std::chrono::duration<double> value) { return value.count(); };
        log_info("triggered: writing the last {} s and the next {} s", seconds(ring_),
                 seconds(after_trigger_));
        configured_->recording->trigger();
      } else {
        log_warning("triggered, but no ring is kept: everything is written anyway");
      }
    }
  }

  void watch() {
    if (!configured_ || configured_->ended) return;
    if (const auto error = configured_->recording->error()) {
      configured_->ended = true;
      const std::string text = "recording ended: " + error->message;
      log_error("{}", text);
      set_status(msgs::DiagnosticLevel::kError, text);
      request_shutdown(1);
      return;
    }
    std::uint64_t dropped = 0;
    for (const auto& tap : configured_->taps) dropped += tap->dropped();
    if (dropped > configured_->reported_drops) {
      configured_->reported_drops = dropped;
      set_status(msgs::DiagnosticLevel::kWarn, fmt::format("{} messages dropped so far", dropped));
      log_warning("{} messages dropped so far", dropped);
    }
  }

  void report() const {
    const bag::Recording& recording = *configured_->recording;
    const auto counts = recording.counts();
    std::uint64_t written = 0;
    for (const auto& tap : configured_->taps) {
      const bag::RecordingCounts& c = counts[tap->index];
      written += c.written;
      std::string line =
          fmt::format("{}: {} received, {} recorded", tap->topic, tap->received(), c.written);
      const Drops drops = tap->drops();
      for (std::size_t reason = 0; reason < kDropReasons; ++reason) {
        if (drops[reason] == 0) continue;
        line += fmt::format(", {} dropped ({})", drops[reason],
                            to_string(static_cast<DropReason>(reason)));
      }
      if (c.forgotten > 0) line += fmt::format(", {} left the ring", c.forgotten);
      log_info("{}", line);
    }
    const auto files = recording.files();
    log_info("{} messages, {:.1f} MB in {}", written, static_cast<double>(recording.bytes()) / 1e6,
             files.empty()       ? "no file: nothing triggered"
             : files.size() == 1 ? files.front()
                                 : fmt::format("{} files", files.size()));
  }

  std::vector<std::string> topics_;
  std::vector<std::string> optional_topics_;
  std::string path_;
  bool overwrite_ = false;
  bool standard_messages_ = false;
  bag::ImageFormat image_format_ = bag::ImageFormat::kJpeg;
  std::int32_t jpeg_quality_ = 95;
  mcap::Compression compression_ = mcap::Compression::kZstd;
  double max_file_mb_ = 0;
  double queue_mb_ = 256;
  std::chrono::nanoseconds ring_{0};
  std::chrono::nanoseconds after_trigger_ = std::chrono::seconds(5);
  std::uint32_t depth_ = 2;
  Reliability reliability_ = Reliability::kBestEffort;

  FileHandle trigger_;  // readable when SIGUSR1 came
  std::unique_ptr<Configured> configured_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<RecorderNode>(); }

}  // namespace fovea
