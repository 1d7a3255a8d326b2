// Where every frame went. Per camera and stage, always:
//
//   in = out + sum(drops) + in_process()
//
// and along the chain camera -> ... -> postprocess these add up to
// captured = delivered + sum of drops over all stages. Counters live in the node's metrics page, so
// they survive kill -9: a restarted node continues them, and what its predecessor held when it died
// is settled as `lost`. A restarted stage also reports the gap, per camera, with its first frame:
// in the log and in `restart_gaps`, `restart_gap_frames` and `restart_gap_ms`.
//
// A stage that is added to a running graph joins late (MetricsPage::set_joins_late()): what went
// out on its topic before is not due to it. The way of those frames ended at the stage before.
//
// Thread safety: a StageLedger may be updated by several threads of its node; one process per
// stage.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

class Domain;
class MetricsPage;
class MetricsReader;

// Counters that are 1: the topic in their label is read or written for their camera (chain.hpp).
inline constexpr std::string_view kTopicReads = "topic_reads";
inline constexpr std::string_view kTopicWrites = "topic_writes";

enum class DropReason : std::uint32_t {
  kPoolExhausted,  // no free slot: readers hold all of them
  kLost,           // published upstream but never arrived, or died with a process
  kSuperseded,     // a newer frame of the same camera took its place
  kExpired,        // its slot was recycled before it was read
  kDeadline,       // could not meet its latency budget
  kError,          // a stage failed on this frame
};
inline constexpr std::size_t kDropReasons = 6;
std::string_view to_string(DropReason reason);  // "pool_exhausted"

// What a stage's first message says of those before it on its topic.
enum class FirstMessage {
  kCountsAll,  // they were meant for this stage, and are lost: a stage of the pipeline
  kSetsBase,   // this stage did not want them: one that may join late, as a recorder does
};

class StageLedger {
 public:
  // Attaches to the counters of `camera` in the page (`frames_in`, `frames_out`, `frames_dropped`
  // by reason), creating them at the first start. Settles what a predecessor left in process as
  // `lost`. REQUIRES: nothing of this camera is in process in this node. The page outlives the
  // ledger.
  StageLedger(MetricsPage& page, std::string_view camera,
              FirstMessage first = FirstMessage::kCountsAll);

  // This stage reads or writes the topic for this camera. Publisher and Subscription say so of
  // themselves; a stage that opens its input later says it before. Where the page joins late, the
  // first topic that is read tells where counting begins: call it before messages can come.
  void reads(std::string_view topic);
  void writes(std::string_view topic);

  // A source took a frame; returns its number (Header::seq), from 1 and never reused.
  std::uint64_t capture();

  // A message with this topic_seq arrived: the gap since the previous one is counted in and `lost`.
  // False if it is a repeat of the previous one, or 0: ignore it. One socket never reorders, so a
  // lower number means that the publisher was stopped, lost its page and counts from 1 again;
  // counting goes on, and with kSetsBase from this message. Thread safety: one thread per camera.
  bool arrive(std::uint64_t topic_seq);

  // n frames end here.
  void drop(DropReason reason, std::uint64_t n = 1);

  // A frame leaves; returns its topic_seq. Call immediately before sending.
  std::uint64_t depart();

  std::uint64_t in() const;
  std::uint64_t out() const;
  std::uint64_t drops(DropReason reason) const;
  std::uint64_t in_process() const;

 private:
  void join(std::uint64_t published);
  void end_gap(std::uint64_t missed);

  MetricsPage& page_;
  std::string camera_;
  const bool sets_base_;    // kSetsBase
  bool is_joined_ = false;  // a message came; guarded by the one thread of arrive()
  bool joins_late_;         // and has not joined yet
  std::atomic<std::uint64_t>* in_ = nullptr;
  std::atomic<std::uint64_t>* out_ = nullptr;
  std::atomic<std::uint64_t>* topic_base_ =
      nullptr;  // `in` where the publisher's count was 0, modulo 2^64
  std::array<std::atomic<std::uint64_t>*, kDropReasons> drops_{};
  std::atomic<std::uint64_t>* last_frame_ns_ = nullptr;  // CLOCK_MONOTONIC
  std::atomic<std::uint64_t>* gaps_ = nullptr;
  std::atomic<std::uint64_t>* gap_frames_ = nullptr;
  std::atomic<std::uint64_t>* gap_ms_ = nullptr;
  std::uint64_t settled_ = 0;            // what the predecessor held
  std::atomic<bool> is_in_gap_ = false;  // restarted, and no frame has come since
};

// What a stage's restarts cost one camera.
struct RestartGaps {
  std::uint64_t count = 0;
  std::uint64_t frames = 0;        // lost because this stage was away; part of its `lost`
  std::uint64_t milliseconds = 0;  // from the last frame before a restart to the first one after it
};

// One stage's counters as a reader sees them; indexed by DropReason.
struct StageCounts {
  std::uint64_t in = 0;
  std::uint64_t out = 0;
  std::array<std::uint64_t, kDropReasons> drops{};
  // How far `in` is ahead of the publisher's count. Negative: so many frames passed before this
  // stage joined. Positive: so many came from a publisher before the present one.
  std::int64_t ahead = 0;

  std::uint64_t dropped() const;     // sum of drops
  std::uint64_t in_process() const;  // in - out - drops; what a dead process held
};

// Zeros when the page knows no such camera. Reads `in` last, so a running stage never shows more
// out than in.
StageCounts read_stage(const MetricsReader& reader, std::string_view camera);
RestartGaps read_restart_gaps(const MetricsReader& reader, std::string_view camera);
// How many messages went out on the topic so far, as its publisher's page tells; 0 if none does.
std::uint64_t published_on(const Domain& domain, std::string_view topic);
// Cameras that have a ledger in this page, in order of registration.
std::vector<std::string> ledger_cameras(const MetricsReader& reader);

// What became of one camera's frames along its whole chain.
struct FrameAccount {
  std::uint64_t captured = 0;
  // By the last stage, and by the stages before it while they were the last.
  std::uint64_t delivered = 0;
  std::array<std::uint64_t, kDropReasons> drops{};  // indexed by DropReason, over all stages
  std::uint64_t in_flight = 0;  // in process in a stage, or sent and not yet received
  std::uint64_t overcounted =
      0;  // by how much some count exceeds what it is part of: a bug, or foreign pages

  std::uint64_t dropped() const;
  // captured = delivered + dropped() + in_flight, and nothing is overcounted.
  bool balanced() const;
};

// Adds up `chain`: the stages of one camera, source first ("camera", "preprocess", "detector",
// "postprocess"). While nodes run, read the last stage first, or frames that move meanwhile look
// overcounted. With `final` all processes have ended: what was in flight is lost.
FrameAccount account(std::span<const StageCounts> chain, bool final);

}  // namespace fovea
