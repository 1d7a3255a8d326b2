// Publishes a recording's topics again, at the pace at which they were recorded. Stamps become
// those of now, so that latencies downstream are true; frame numbers stay.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "msgs/cdr.hpp"
#include "nodes/bag/image_record.hpp"
#include "nodes/bag/mcap.hpp"
#include "nodes/bag/topic_type.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/imaging/picture.hpp"
#include "nodes/runtime/log.hpp"
#include "nodes/runtime/process/node.hpp"
#include "nodes/runtime/stages/reliability.hpp"

namespace fovea {
namespace {

class PlayerNode final : public Node {
 public:
  PlayerNode() : Node("player", "Publishes the topics of a recording again") {}

  void declare_parameters(ParameterSet& p) override {
    p.add("path", &path_, "MCAP file").names_file().required();
    p.add("topics", &topics_, "Topics to publish; none = all that the recording has");
    p.add("rate", &rate_, "Speed, 1 = as recorded; 0 = as fast as possible", Range{0, 1000});
    p.add("loop", &loop_, "Start over at the end");
    p.add("start_offset", &start_offset_, "Where to start", Range{0, 1e7}, "s");
    p.add("subscriber_timeout", &subscriber_timeout_,
          "How long the first message waits until every topic has a subscriber", Range{0, 3600},
          "s");
    p.add("slots", &slots_, "Shared-memory slots of each topic with a payload", Range{2, 64});
    add_reliability(p, &reliability_, "reliable: wait for readers that are reliable too");
  }

  Result<> on_configure() override {
    auto configured = std::make_unique<Configured>();
    FOVEA_ASSIGN(configured->reader, mcap::Reader::open(path_));
    const mcap::Summary& summary = configured->reader->summary();
    if (!summary.damage.empty()) log_warning("{}: {}", path_, summary.damage);
    std::vector<std::string> available;
    for (const mcap::Channel& channel : configured->reader->channels()) {
      available.push_back(channel.topic);
      const bool wanted = topics_.empty() ||
                          std::find(topics_.begin(), topics_.end(), channel.topic) != topics_.end();
      if (wanted) FOVEA_TRY(add_output(*configured, channel));
    }
    for (const std::string& topic : topics_) {
      if (std::find(available.begin(), available.end(), topic) == available.end()) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("topics names {}; {} has {}", topic,
                                                             path_, fmt::join(available, ", ")));
      }
    }
    if (configured->outputs.empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: none of its topics can be published", path_));
    }
    configured_ = std::move(configured);
    return {};
  }

  Result<> on_activate() override {
    playing_ = std::jthread([this](const std::stop_token& stop) { play(stop); });
    return {};
  }

  Result<> on_deactivate() override {
    playing_.request_stop();
    for (auto& output : configured_->outputs) output->interrupt();
    playing_.join();
    return {};
  }

  Result<> on_cleanup() override {
    configured_.reset();
    return {};
  }

 private:
  // One topic's way from CDR to its subscribers.
  struct Output {
    Output(std::uint16_t id, std::string name) : channel(id), topic(std::move(name)) {}
    virtual ~Output() = default;
    // False: the message cannot be read. A message for which no slot is free is not published.
    virtual bool publish(const mcap::Message& message, std::int64_t now_ns) = 0;
    virtual int subscription_count() = 0;
    virtual void interrupt() = 0;
    virtual void flush() = 0;

    std::uint16_t channel;
    std::string topic;
    std::uint64_t published = 0;
    std::uint64_t dropped = 0;  // no slot was free
    std::uint64_t unreadable = 0;
  };

  // The playing thread's while it runs.
  struct Configured {
    std::unique_ptr<mcap::Reader> reader;
    std::vector<std::unique_ptr<Output>> outputs;
    std::uint64_t skipped = 0;  // messages that could not be read
  };

  template <class M>
  struct TypedOutput : Output {
    using Output::Output;
    int subscription_count() override { return publisher->subscription_count(); }
    void interrupt() override { publisher->interrupt(); }
    void flush() override { publisher->flush(std::chrono::seconds(30)); }

    bool publish(const mcap::Message& recorded, std::int64_t now_ns) override {
      M message;
      std::span<const std::byte> payload;
      if (!msgs::from_cdr<M>(recorded.data, message, payload)) return false;
      restamp(message.header, now_ns);
      if constexpr (detail::HasPayload<M>) {
        auto slot = publisher->loan(payload.size());
        if (!slot) {
          ++this->dropped;
          return true;
        }
        std::copy(payload.begin(), payload.end(), slot->data().begin());
        publisher->publish(message, std::move(*slot), payload.size());
      } else {
        publisher->publish(message);
      }
      ++this->published;
      return true;
    }

    std::optional<Publisher<M>> publisher;
  };

  struct ImageOutput final : TypedOutput<msgs::Image> {
    using TypedOutput::TypedOutput;
    bool compressed = false;

    bool publish(const mcap::Message& recorded, std::int64_t now_ns) override {
      bag::ImageRecord record;
      if (!bag::from_cdr(recorded.data, compressed, record)) return false;
      imaging::PictureInfo picture;
      if (compressed) {
        const auto inspected = imaging::inspect_picture(record.data);
        if (!inspected) return false;
        picture = *inspected;
        record.width = picture.width;
        record.height = picture.height;
        record.step = 3 * picture.width;
      }
      const std::size_t bytes = std::size_t{record.step} * record.height;
      auto slot = publisher->loan(bytes);
      if (!slot) {
        ++dropped;
        return true;
      }
      if (!compressed) {
        std::copy_n(record.data.begin(), bytes, slot->data().begin());
      } else if (!imaging::decode_picture(
                     record.data, picture,
                     {slot->data().data(), record.width, record.height, record.step})) {
        return false;
      }
      msgs::Image image;
      image.header.seq = recorded.sequence;
      image.header.frame_id = std::string_view(record.frame_id);
      image.header.stamp_monotonic = now_ns;
      image.header.stamp_realtime = realtime_ns();
      image.header.stages.push_back({"player", now_ns, now_ns});
      image.height = record.height;
      image.width = record.width;
      image.step = record.step;
      image.encoding = record.encoding;
      publisher->publish(image, std::move(*slot), bytes);
      ++published;
      return true;
    }
  };

  // Moves all instants so that the message was made just now; what lies between them stays.
  static void restamp(msgs::Header& header, std::int64_t now_ns) {
    // Modulo 2^64, because a recording may hold any instants.
    const auto shift =
        static_cast<std::uint64_t>(now_ns) - static_cast<std::uint64_t>(header.stamp_monotonic);
    header.stamp_monotonic = now_ns;
    header.stamp_realtime = realtime_ns();
    for (msgs::StageStamp& stamp : header.stages) {
      for (std::int64_t* instant : {&stamp.started, &stamp.ended})
        if (*instant != 0)
          *instant = static_cast<std::int64_t>(static_cast<std::uint64_t>(*instant) + shift);
    }
  }

  Result<> add_output(Configured& to, const mcap::Channel& channel) const {
    const mcap::Schema* schema = to.reader->find_schema(channel.schema_id);
    const std::string name = schema != nullptr ? schema->name : "";
    const QoS qos{.reliability = reliability_};
    const bool compressed = name == bag::kCompressedImageSchemaName;
    if (compressed || name == bag::kImageSchemaName) {
      auto output = std::make_unique<ImageOutput>(channel.id, channel.topic);
      output->compressed = compressed;
      return open(to, std::move(output), qos);
    }
    if (name.starts_with("vision_msgs/") || name.starts_with("foxglove_msgs/")) {
      return {};  // what another topic holds, for other tools
    }
    return bag::with_type_of(channel.topic, [&]<class M>(std::type_identity<M>) -> Result<> {
      if (name != msgs::ros2_name<M>() || schema->data != msgs::ros2_schema<M>()) {
        log_warning("{}: its messages ({}) are not those of this build; it is left out",
                    channel.topic, name);
        return {};
      }
      QoS own = qos;
      if (std::is_same_v<M, msgs::ModelInfo>) own.durability = Durability::kTransientLocal;
      return open(to, std::make_unique<TypedOutput<M>>(channel.id, channel.topic), own);
    });
  }

  template <class SomeOutput>
  Result<> open(Configured& to, std::unique_ptr<SomeOutput> output, const QoS& qos) const {
    using Pub = typename decltype(output->publisher)::value_type;
    FOVEA_ASSIGN(auto publisher, Pub::create(domain(), output->topic, qos, {.slot_count = slots_}));
    output->publisher.emplace(std::move(publisher));
    to.outputs.push_back(std::move(output));
    return {};
  }

  void play(const std::stop_token& stop) {
    wait_for_subscribers(stop);
    do {
      play_once(stop);
    } while (loop_ && !stop.stop_requested());
    for (auto& output : configured_->outputs) {
      if (!stop.stop_requested()) output->flush();
      log_info("{}: {} published{}{}", output->topic, output->published,
               output->dropped > 0 ? fmt::format(", {} without a free slot", output->dropped) : "",
               output->unreadable > 0 ? fmt::format(", {} unreadable", output->unreadable) : "");
    }
    const std::uint64_t skipped = configured_->skipped;
    if (skipped > 0) log_error("{} messages could not be read and were skipped", skipped);
    if (!stop.stop_requested()) request_shutdown(skipped > 0 ? 1 : 0);
  }

  void play_once(const std::stop_token& stop) {
    auto& [reader, outputs, skipped] = *configured_;
    std::vector<std::string> names;
    for (const auto& output : outputs) names.push_back(output->topic);
    const std::int64_t first =
        later(reader->summary().start_time, static_cast<double>(start_offset_.count()));
    reader->seek(first, names);
    const std::int64_t began = monotonic_ns();
    while (!stop.stop_requested()) {
      auto message = reader->next();
      if (!message) {
        log_error("{}", message.error().message);
        set_status(msgs::DiagnosticLevel::kWarn, message.error().message);
        continue;
      }
      if (!*message) {
        skipped += reader->skipped();
        return;
      }
      std::int64_t due = monotonic_ns();
      if (rate_ > 0) {
        due = later(began,
                    static_cast<double>(mcap::time_between(first, (*message)->log_time)) / rate_);
        sleep_until(due, stop);
        if (stop.stop_requested()) return;
      }
      for (auto& output : outputs) {
        if (output->channel != (*message)->channel->id) continue;
        if (!output->publish(**message, due)) {
          ++output->unreadable;
          ++skipped;
        }
      }
    }
  }

  // `ns` after `instant`, at most a century later: recordings may hold any instants.
  static std::int64_t later(std::int64_t instant, double ns) {
    constexpr double kMost = 3e18;
    const std::int64_t wait = std::llround(std::clamp(ns, 0.0, kMost));
    std::int64_t sum = 0;
    return __builtin_add_overflow(instant, wait, &sum) ? std::numeric_limits<std::int64_t>::max()
                                                       : sum;
  }

  static void sleep_until(std::int64_t due_ns, const std::stop_token& stop) {
    constexpr std::int64_t kSlice = 100'000'000;  // how soon a stop request is seen
    for (std::int64_t left = due_ns - monotonic_ns(); left > 0 && !stop.stop_requested();
         left = due_ns - monotonic_ns()) {
      std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(left, kSlice)));
    }
  }

  void wait_for_subscribers(const std::stop_token& stop) {
    const std::int64_t give_up = monotonic_ns() + subscriber_timeout_.count();
    const auto all_joined = [this] {
      return std::all_of(configured_->outputs.begin(), configured_->outputs.end(),
                         [](auto& output) { return output->subscription_count() > 0; });
    };
    while (!stop.stop_requested() && !all_joined() && monotonic_ns() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  std::string path_;
  std::vector<std::string> topics_;
  double rate_ = 1;
  bool loop_ = false;
  std::chrono::nanoseconds start_offset_{0};
  std::chrono::nanoseconds subscriber_timeout_ = std::chrono::seconds(2);
  std::uint32_t slots_ = 4;
  Reliability reliability_ = Reliability::kBestEffort;

  std::unique_ptr<Configured> configured_;
  std::jthread playing_;
};

}  // namespace

std::unique_ptr<Node> make_node() { return std::make_unique<PlayerNode>(); }

}  // namespace fovea
