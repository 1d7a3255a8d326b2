// Where every frame went. Per camera and stage, always:
//
//   in = out + sum(drops) + in_process()
//
// and along the chain camera -> ... -> postprocess these add up to
// captured = delivered + sum of drops over all stages. Counters live in the node's metrics page, so they
// survive kill -9: a restarted node continues them, and what its predecessor held when it died is settled
// as `lost`.
//
// Thread safety: a StageLedger may be updated by several threads of its node; one process per stage.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace fovea {

class MetricsPage;

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

class StageLedger {
 public:
  // Attaches to the counters of `camera` in the page, creating them at the first start. `stage` is the
  // node type ("camera", "preprocess", ...). Settles what a predecessor left in process as `lost`.
  StageLedger(MetricsPage& page, std::string_view camera);

  // A source took a frame; returns its number (Header::seq), from 1 and never reused.
  std::uint64_t capture();

  // A message with this topic_seq arrived: the gap since the previous one is counted in and `lost`. False
  // if it was seen before (repeat or backward): ignore it.
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
  std::atomic<std::uint64_t>* in_ = nullptr;
  std::atomic<std::uint64_t>* out_ = nullptr;
  std::array<std::atomic<std::uint64_t>*, kDropReasons> drops_{};
};

}  // namespace fovea
