#include "bench/pubsub/first_lap.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include <sys/resource.h>

#include "bench/pubsub/frame.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/runtime/slots/buffer_pool.hpp"

namespace fovea::bench {
namespace {

constexpr std::string_view kTopic = "bench/first_lap";
constexpr int kLaterLaps = 4;

double ms_since(std::int64_t start) { return static_cast<double>(monotonic_ns() - start) / 1e6; }

long faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

}  // namespace

FirstLap measure_first_lap(std::size_t slot_bytes, int slots) {
  FirstLap result;
  result.slot_bytes = slot_bytes;
  result.slots = slots;
  const auto failed = [&](const Error& error) {
    result.error = error.message;
    return result;
  };
  const auto domain = Domain::open();
  if (!domain) return failed(domain.error());
  PoolOptions options;
  options.slot_bytes = slot_bytes;
  options.slot_count = static_cast<std::uint32_t>(slots);
  // All are retained, so that the oldest is always next: a lap visits every slot.
  options.retained_depth = options.slot_count;

  std::int64_t start = monotonic_ns();
  const auto pool = BufferPool::create(*domain, kTopic, options);
  if (!pool) return failed(pool.error());
  result.create_ms = ms_since(start);
  start = monotonic_ns();
  const auto reader = PoolReader::open(*domain, kTopic, (*pool)->incarnation());
  if (!reader) return failed(reader.error());
  result.open_ms = ms_since(start);

  std::vector<double> writes, reads;
  const long before = faults();
  for (int i = 0; i < slots * (1 + kLaterLaps); ++i) {
    start = monotonic_ns();
    auto slot = (*pool)->loan();
    std::memset(slot->data().data(), i, slot_bytes);
    writes.push_back(ms_since(start));
    const msgs::BufferRef ref = (*pool)->publish(std::move(*slot), slot_bytes);
    start = monotonic_ns();
    const auto held = (*reader)->hold(ref);
    const std::byte* bytes = held->data().data();
    std::size_t sum = 0;
    for (std::size_t at = 0; at < slot_bytes; at += kTouchStep)
      sum += static_cast<std::size_t>(bytes[at]);
    reads.push_back(ms_since(start));
    if (sum != static_cast<std::size_t>(i & 0xff) * ((slot_bytes + kTouchStep - 1) / kTouchStep))
      result.error = "read something else than was written";
    if (i + 1 == slots) result.first_lap_faults = faults() - before;
  }
  const auto slowest = [&](const std::vector<double>& times) {
    return *std::max_element(times.begin(), times.begin() + slots);
  };
  const auto later_median = [&](std::vector<double>& times) {
    const auto middle = times.begin() + slots + (slots * kLaterLaps) / 2;
    std::nth_element(times.begin() + slots, middle, times.end());
    return *middle;
  };
  result.first_write_ms = slowest(writes);
  result.later_write_ms = later_median(writes);
  result.first_read_ms = slowest(reads);
  result.later_read_ms = later_median(reads);
  return result;
}

}  // namespace fovea::bench
