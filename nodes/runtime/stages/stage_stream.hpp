// One camera's way through a stage: the topic it reads, the topic it writes, its ledger, its faults
// and its latencies. What every stage has in common, whether it works frame by frame
// (stage_set.hpp) or in batches of many cameras, as the detector does.
//
// Thread safety: input and faults belong to one thread, output to one thread; the ledger is shared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "msgs/header.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/stages/fault_log.hpp"
#include "nodes/runtime/stages/reliability.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea {

// A histogram in µs: from an instant of the frame to the end of this stage.
struct StageLatency {
  enum class Since { kCaptured, kStageBefore };
  std::string_view histogram = {};
  Since since = Since::kStageBefore;
};

// What a stage is called on the outside, as data: `<camera>/<input>` -> `<camera>/<output>`.
struct StageSpec {
  std::string_view input = {};
  std::string_view output = {};
  std::vector<StageLatency> latencies = {};
  // The input is subscribed to when the stage says that it is ready instead of at configure, so that
  // no frame is taken in vain meanwhile.
  bool reads_when_ready = false;
};

struct StageOptions {
  Reliability reliability = Reliability::kBestEffort;
  std::uint32_t slots = 4;  // of each camera's output pool, where messages have payloads
};

template <class In, class Out>
class StageStream {
 public:
  static Result<std::unique_ptr<StageStream>> create(const Domain& domain, MetricsPage& metrics,
                                                     const std::string& camera,
                                                     const StageSpec& spec,
                                                     const StageOptions& options) {
    FOVEA_TRY(check_name("camera", camera));
    std::unique_ptr<StageStream> stream(new StageStream(domain, metrics, camera, spec, options));
    PoolOptions pool;
    if constexpr (detail::HasPayload<Out>) pool.slot_count = options.slots;
    FOVEA_ASSIGN(auto output, Publisher<Out>::create(
                                  domain, camera + "/" + std::string(spec.output),
                                  {.reliability = options.reliability}, pool, &stream->ledger_));
    stream->output_.emplace(std::move(output));
    if (!spec.reads_when_ready) FOVEA_TRY(stream->open_input());
    return stream;
  }

  const std::string& camera() const { return camera_; }
  StageLedger& ledger() { return ledger_; }
  FaultLog& faults() { return faults_; }
  const FaultLog& faults() const { return faults_; }

  Result<> open_input() {
    if (input_) return {};
    FOVEA_ASSIGN(auto input, Subscription<In>::create(domain_, input_topic_,
                                                      {.reliability = reliability_}, &ledger_));
    input_.emplace(std::move(input));
    return {};
  }
  void close_input() { input_.reset(); }
  // Null while it is not open.
  Subscription<In>* input() { return input_ ? &*input_ : nullptr; }

  // Reliable: the first frame waits until somebody reads the output. Call before a frame is begun.
  void await_reader() {
    if (reliability_ != Reliability::kReliable || std::exchange(awaited_reader_, true)) return;
    wait_for_subscription(*output_, kReaderTimeout, [] { return false; });
  }

  // As Publisher::loan(): nullopt = exhausted, and counted.
  std::optional<WritableBuffer> loan(std::size_t bytes) { return output_->loan(bytes); }

  // Records the frame's latencies, stamps it and sends it.
  void publish(Out& message, WritableBuffer&& slot, std::size_t bytes, std::int64_t started,
               std::int64_t ended) requires detail::HasPayload<Out> {
    stamp(message.header.stages, started, ended);
    output_->publish(message, std::move(slot), bytes);
  }
  void publish(Out& message, std::int64_t started, std::int64_t ended) {
    stamp(message.header.stages, started, ended);
    output_->publish(message);
  }

 private:
  StageStream(const Domain& domain, MetricsPage& metrics, const std::string& camera,
              const StageSpec& spec, const StageOptions& options)
      : domain_(domain),
        camera_(camera),
        input_topic_(camera + "/" + std::string(spec.input)),
        reliability_(options.reliability),
        stage_(metrics.type()),
        ledger_(metrics, camera),
        faults_(input_topic_) {
    ledger_.reads(input_topic_);  // also while it is not open
    for (const StageLatency& latency : spec.latencies) {
      latencies_.emplace_back(latency.since, &metrics.histogram(latency.histogram, camera));
    }
  }

  void stamp(msgs::StageStamps& stages, std::int64_t started, std::int64_t ended) {
    for (const auto& [since, histogram] : latencies_) {
      const std::int64_t from = since == StageLatency::Since::kCaptured ? msgs::captured(stages)
                                                                        : msgs::last_ended(stages);
      if (from == 0) continue;  // not known
      // A peer may stamp what it likes: unsigned, because the difference may overflow.
      const auto ns = static_cast<std::uint64_t>(ended) - static_cast<std::uint64_t>(from);
      histogram->record(ended > from ? ns / 1000 : 0);
    }
    stages.push_back({stage_, started, ended});
  }

  const Domain& domain_;
  std::string camera_;
  std::string input_topic_;
  Reliability reliability_;
  msgs::FixedString<16> stage_;  // as frames are stamped: the node's type
  StageLedger ledger_;
  FaultLog faults_;
  std::vector<std::pair<StageLatency::Since, Histogram*>> latencies_;
  std::optional<Publisher<Out>> output_;
  std::optional<Subscription<In>> input_;
  bool awaited_reader_ = false;
};

}  // namespace fovea
