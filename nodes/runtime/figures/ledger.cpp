// Every function counts a frame in before it counts it out or dropped. So whatever instruction a
// process dies at, the frame is at worst still "in process", and no frame is ever counted twice.
#include "nodes/runtime/figures/ledger.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "nodes/base/clock.hpp"
#include "nodes/runtime/figures/metrics.hpp"
#include "nodes/runtime/log.hpp"

namespace fovea {
namespace {

constexpr std::string_view kIn = "frames_in";
constexpr std::string_view kOut = "frames_out";
constexpr std::string_view kDropped = "frames_dropped";
constexpr std::string_view kTopicBase = "topic_base";
constexpr std::string_view kLastFrame = "last_frame_ns";
constexpr std::string_view kGaps = "restart_gaps";
constexpr std::string_view kGapFrames = "restart_gap_frames";
constexpr std::string_view kGapMs = "restart_gap_ms";

// What outgoing counters cover must be visible to who reads `in` after them.
constexpr auto kRelease = std::memory_order_release;
constexpr auto kAcquire = std::memory_order_acquire;

constexpr std::array<std::string_view, kDropReasons> kReasonNames{
    "pool_exhausted", "lost", "superseded", "expired", "deadline", "error"};

std::uint64_t now_ns() { return static_cast<std::uint64_t>(monotonic_ns()); }

std::uint64_t less(std::uint64_t from, std::uint64_t what) { return from > what ? from - what : 0; }

}  // namespace

std::string_view to_string(DropReason reason) {
  const auto index = static_cast<std::size_t>(reason);
  return index < kReasonNames.size() ? kReasonNames[index] : "invalid";
}

StageLedger::StageLedger(MetricsPage& page, std::string_view camera, FirstMessage first)
    : page_(page),
      camera_(camera),
      sets_base_(first == FirstMessage::kSetsBase),
      joins_late_(page.joins_late()),
      in_(&page.counter(kIn, camera)),
      out_(&page.counter(kOut, camera)),
      topic_base_(&page.counter(kTopicBase, camera)),
      last_frame_ns_(&page.counter(kLastFrame, camera)),
      gaps_(&page.counter(kGaps, camera)),
      gap_frames_(&page.counter(kGapFrames, camera)),
      gap_ms_(&page.counter(kGapMs, camera)) {
  for (std::size_t i = 0; i < kDropReasons; ++i)
    drops_[i] = &page.counter(kDropped, camera, kReasonNames[i]);
  settled_ = in_process();
  if (settled_ > 0) {
    drop(DropReason::kLost, settled_);
    gap_frames_->fetch_add(settled_, kRelease);
  }
  is_in_gap_ = last_frame_ns_->load(kAcquire) > 0;
}

void StageLedger::reads(std::string_view topic) {
  if (std::exchange(joins_late_, false) && !sets_base_) {
    join(published_on(page_.domain(), topic));  // first: a reader of the page follows the topic
  }
  page_.counter(kTopicReads, camera_, topic).store(1, kRelease);
}
void StageLedger::writes(std::string_view topic) {
  page_.counter(kTopicWrites, camera_, topic) = 1;
}

// The publisher has sent `published` messages: the next one is the first that is due here.
void StageLedger::join(std::uint64_t published) {
  topic_base_->store(in_->load(kAcquire) - published, kRelease);
  is_in_gap_ = false;  // nobody missed it
}

// The first frame after a restart is here; `missed` passed by while this stage was away.
void StageLedger::end_gap(std::uint64_t missed) {
  if (!is_in_gap_.exchange(false)) return;
  const std::uint64_t ms = less(now_ns(), last_frame_ns_->load(kAcquire)) / 1'000'000;
  gaps_->fetch_add(1, kRelease);
  gap_frames_->fetch_add(missed, kRelease);
  gap_ms_->fetch_add(ms, kRelease);
  log_info("{}: back after a gap of {:.2f} s: {} frames lost, {} in process and {} while away",
           camera_, static_cast<double>(ms) / 1e3, settled_ + missed, settled_, missed);
}

std::uint64_t StageLedger::capture() {
  const std::uint64_t number = in_->fetch_add(1, kRelease) + 1;
  end_gap(0);
  last_frame_ns_->store(now_ns(), kRelease);
  return number;
}

bool StageLedger::arrive(std::uint64_t topic_seq) {
  std::uint64_t in = in_->load(kAcquire);
  for (;;) {
    const std::uint64_t base = topic_base_->load(kAcquire);
    const std::uint64_t last = in - base;
    if (topic_seq == 0 || (topic_seq == last && (is_joined_ || !sets_base_))) return false;
    if (sets_base_ && (!is_joined_ || topic_seq < last)) {
      is_joined_ = true;
      topic_base_->store(in + 1 - topic_seq, kRelease);  // may be below 0: the sums still hold
      continue;
    }
    if (topic_seq < last) {
      // The publisher lost its page and counts from 1 again. From here on `last` is 0, also if we
      // die now.
      topic_base_->store(in, kRelease);
      continue;
    }
    if (in_->compare_exchange_weak(in, base + topic_seq, kRelease, kAcquire)) {
      const std::uint64_t missed = topic_seq - last - 1;
      if (missed > 0) drop(DropReason::kLost, missed);
      end_gap(missed);
      last_frame_ns_->store(now_ns(), kRelease);
      return true;
    }
  }
}

void StageLedger::drop(DropReason reason, std::uint64_t n) {
  drops_[static_cast<std::size_t>(reason)]->fetch_add(n, kRelease);
}

std::uint64_t StageLedger::depart() { return out_->fetch_add(1, kRelease) + 1; }

std::uint64_t StageLedger::in() const { return in_->load(kAcquire); }
std::uint64_t StageLedger::out() const { return out_->load(kAcquire); }
std::uint64_t StageLedger::drops(DropReason reason) const {
  return drops_[static_cast<std::size_t>(reason)]->load(kAcquire);
}

std::uint64_t StageLedger::in_process() const {
  std::uint64_t ended = out();
  for (const auto* drops : drops_) ended += drops->load(kAcquire);
  return less(in(), ended);  // `in` last: it covers everything that was seen to end
}

std::uint64_t StageCounts::dropped() const {
  return std::accumulate(drops.begin(), drops.end(), std::uint64_t{0});
}

std::uint64_t StageCounts::in_process() const { return less(in, out + dropped()); }

StageCounts read_stage(const MetricsReader& reader, std::string_view camera) {
  StageCounts counts;
  counts.out = reader.value(kOut, camera);
  for (std::size_t i = 0; i < kDropReasons; ++i) {
    counts.drops[i] = reader.value(kDropped, camera, kReasonNames[i]);
  }
  counts.in = reader.value(kIn, camera);
  counts.ahead = static_cast<std::int64_t>(reader.value(kTopicBase, camera));
  return counts;
}

std::uint64_t published_on(const Domain& domain, std::string_view topic) {
  std::uint64_t published = 0;
  for (const std::string& name : domain.list_nodes()) {
    const auto page = MetricsReader::open(domain, name);
    if (!page) continue;
    for (const MetricSample& sample : (*page)->counters()) {
      if (sample.name != kTopicWrites || sample.label != topic || sample.value == 0) continue;
      const std::uint64_t out = (*page)->value(kOut, sample.camera);
      if ((*page)->alive()) return out;  // a topic has one living publisher at most
      published = std::max(published, out);
    }
  }
  return published;
}

RestartGaps read_restart_gaps(const MetricsReader& reader, std::string_view camera) {
  return {reader.value(kGaps, camera), reader.value(kGapFrames, camera),
          reader.value(kGapMs, camera)};
}

std::vector<std::string> ledger_cameras(const MetricsReader& reader) {
  std::vector<std::string> cameras;
  for (MetricSample& sample : reader.counters()) {
    if (sample.name == kIn) cameras.push_back(std::move(sample.camera));
  }
  return cameras;
}

std::uint64_t FrameAccount::dropped() const {
  return std::accumulate(drops.begin(), drops.end(), std::uint64_t{0});
}

bool FrameAccount::balanced() const {
  return overcounted == 0 && captured == delivered + dropped() + in_flight;
}

FrameAccount account(std::span<const StageCounts> chain, bool final) {
  FrameAccount result;
  if (chain.empty()) return result;
  result.captured = chain.front().in;
  std::uint64_t came_before = 0;  // from publishers that are not in this chain any more
  result.delivered = chain.back().out;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const StageCounts& stage = chain[i];
    for (std::size_t r = 0; r < kDropReasons; ++r) result.drops[r] += stage.drops[r];
    result.in_flight += stage.in_process();
    result.overcounted += less(stage.out + stage.dropped(), stage.in);
    if (i + 1 < chain.size()) {
      const StageCounts& next = chain[i + 1];
      const std::uint64_t taken = next.in - static_cast<std::uint64_t>(next.ahead);
      result.in_flight += less(stage.out, taken);
      result.overcounted += less(taken, stage.out);
      if (next.ahead < 0) {
        result.delivered += -static_cast<std::uint64_t>(next.ahead);
      } else {
        came_before += static_cast<std::uint64_t>(next.ahead);
      }
    }
  }
  result.overcounted += less(came_before, result.delivered);
  result.delivered = less(result.delivered, came_before);
  if (final) {
    result.drops[static_cast<std::size_t>(DropReason::kLost)] += result.in_flight;
    result.in_flight = 0;
  }
  return result;
}

}  // namespace fovea
