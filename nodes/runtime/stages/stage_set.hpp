// Runs one stage for any number of cameras: what the topics bring goes through Stage::process() and
// what comes out leaves, with slots, stamps, ledger, faults and status around it.
//
// Thread safety: the executor's thread only.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "nodes/base/clock.hpp"
#include "nodes/base/stage.hpp"
#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/stages/stage_stream.hpp"

namespace fovea {

// Where a set of stages lives. What it refers to outlives the set.
struct StageHost {
  const Domain& domain;
  MetricsPage& metrics;
  Executor& executor;
  std::function<void(msgs::DiagnosticLevel, std::string_view)> show_status;
};

template <class In, class Out>
class StageSet {
 public:
  StageSet(StageHost host, StageSpec spec, StageOptions options)
      : host_(std::move(host)), spec_(std::move(spec)), options_(options) {}
  ~StageSet() {
    for (auto& entry : entries_) host_.executor.remove(entry->registration);
  }
  StageSet(const StageSet&) = delete;
  StageSet& operator=(const StageSet&) = delete;

  // At any time; while the set is active its frames flow from now on. Errors: a camera that is there
  // already, and those of Publisher::create().
  Result<> add_camera(const std::string& camera, std::unique_ptr<Stage<In, Out>> stage) {
    if (find(camera) != entries_.end()) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("camera '{}' is given twice", camera));
    }
    auto entry = std::make_unique<Entry>();
    FOVEA_ASSIGN(entry->stream, (StageStream<In, Out>::create(host_.domain, host_.metrics, camera,
                                                              spec_, options_)));
    entry->stage = std::move(stage);
    if constexpr (detail::HasPayload<Out>) {
      entry->bytes_written = &host_.metrics.counter("bytes_written", camera);
    }
    if (is_ready_) FOVEA_TRY(entry->stream->open_input());
    if (is_active_) serve(*entry);
    entries_.push_back(std::move(entry));
    return {};
  }

  // What has arrived still leaves; then the camera's figures are gone from the page. False when
  // there is no such camera. Not from inside a stage.
  bool remove_camera(std::string_view camera) {
    const auto found = find(camera);
    if (found == entries_.end()) return false;
    if (is_active_) stop(**found);
    const std::string name(camera);  // it may be the entry's own
    entries_.erase(found);
    host_.metrics.remove_camera(name);
    show();
    return true;
  }

  // The stages can work: a set that reads when it is ready subscribes now.
  Result<> set_ready() {
    is_ready_ = true;
    for (auto& entry : entries_) {
      FOVEA_TRY(entry->stream->open_input());
      if (is_active_ && entry->registration == 0) serve(*entry);
    }
    return {};
  }

  void activate() {
    is_active_ = true;
    for (auto& entry : entries_) {
      if (entry->stream->input() != nullptr) serve(*entry);
    }
  }

  // What has arrived still leaves.
  void deactivate() {
    for (auto& entry : entries_) stop(*entry);
    is_active_ = false;
    is_ready_ = false;
  }

  // What the node says of itself. The faults of the first camera that has any are shown in its place
  // while they are worse.
  void set_status(msgs::DiagnosticLevel level, std::string_view text) {
    level_ = level;
    text_ = text;
    show();
  }

 private:
  struct Entry {
    std::unique_ptr<StageStream<In, Out>> stream;
    std::unique_ptr<Stage<In, Out>> stage;
    Counter* bytes_written = nullptr;
    Executor::Id registration = 0;  // 0 = its input is not served
  };
  using Entries = std::vector<std::unique_ptr<Entry>>;

  typename Entries::iterator find(std::string_view camera) {
    return std::find_if(entries_.begin(), entries_.end(),
                        [&](const auto& entry) { return entry->stream->camera() == camera; });
  }

  void serve(Entry& entry) {
    entry.registration =
        host_.executor.add_fd(entry.stream->input()->fd(), [this, &entry] { take_all(entry); });
  }

  void stop(Entry& entry) {
    host_.executor.remove(std::exchange(entry.registration, 0));
    if (entry.stream->input() == nullptr) return;
    take_all(entry);
    if (spec_.reads_when_ready) entry.stream->close_input();
  }

  void take_all(Entry& entry) {
    Subscription<In>& input = *entry.stream->input();
    input.drain();
    while (auto received = input.take()) process(entry, *received);
  }

  void process(Entry& entry, Received<In>& received) {
    StageStream<In, Out>& stream = *entry.stream;
    stream.await_reader();
    const std::int64_t started = monotonic_ns();
    const std::uint64_t seq = received.message.header.seq;
    const StageIn<In> in{received.message, received.buffer.data()};
    StageOut<Out> out{message_, {}, {}};
    [[maybe_unused]] std::optional<WritableBuffer> slot;
    [[maybe_unused]] std::size_t bytes = 0;
    if constexpr (detail::HasPayload<Out>) {
      bytes = entry.stage->payload_bytes(received.message);
      slot = stream.loan(bytes);
      if (!slot) return;  // the publisher has counted it
      out.payload = slot->data();
    }
    message_.header = received.message.header;
    if (const Result<> done = entry.stage->process(in, out); !done) {
      stream.ledger().drop(DropReason::kError);
      if (stream.faults().begin(done.error().code, "frames are refused: " + done.error().message,
                                seq)) {
        show();
      }
      return;
    }
    const bool is_news = out.warning.empty()
                             ? stream.faults().clear(seq)
                             : stream.faults().begin(ErrorCode::kCorrupt, out.warning, seq);
    if (is_news) show();
    received.buffer = {};  // the stage before this one may have its slot back
    if constexpr (detail::HasPayload<Out>) {
      *entry.bytes_written += bytes;
      stream.publish(message_, std::move(*slot), bytes, started, monotonic_ns());
    } else {
      stream.publish(message_, started, monotonic_ns());
    }
  }

  void show() {
    const FaultLog* worst = nullptr;
    for (const auto& entry : entries_) {
      const FaultLog& faults = entry->stream->faults();
      if (faults.level() > (worst == nullptr ? level_ : worst->level())) worst = &faults;
    }
    if (worst == nullptr) return host_.show_status(level_, text_);
    host_.show_status(worst->level(), worst->status());
  }

  StageHost host_;
  StageSpec spec_;
  StageOptions options_;
  Entries entries_;
  Out message_{};  // of the frame in hand; kept, because some messages are large
  bool is_ready_ = false;
  bool is_active_ = false;
  msgs::DiagnosticLevel level_ = msgs::DiagnosticLevel::kOk;
  std::string text_;
};

}  // namespace fovea
