// The parameter that every node of a pipeline has: whether its topics wait for slow readers. With
// all of them reliable no frame is dropped for being late, so a recording gives the same detections
// however busy the machine is.
#pragma once

#include <chrono>
#include <string_view>
#include <thread>

#include "nodes/base/clock.hpp"
#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/process/parameters.hpp"
#include "nodes/runtime/topics/pubsub.hpp"

namespace fovea {

inline void add_reliability(
    ParameterSet& parameters, Reliability* reliability,
    std::string_view description =
        "best_effort: a frame that comes too late is dropped and counted; reliable: whoever is "
        "slow is waited for (replays)") {
  parameters.add("reliability",
                 choice(reliability, {{"best_effort", Reliability::kBestEffort},
                                      {"reliable", Reliability::kReliable}}),
                 description);
}

// Waits until somebody reads the topic, so that the first message is not sent in vain. False when
// `timeout` passes, `give_up()` says so or a stop signal comes first.
template <class M, class GiveUp>
bool wait_for_subscription(Publisher<M>& publisher, std::chrono::nanoseconds timeout,
                           GiveUp give_up) {
  const std::int64_t deadline = monotonic_ns() + timeout.count();
  while (publisher.subscription_count() == 0) {
    if (give_up() || Executor::stop_signalled() || monotonic_ns() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// How long a reliable node waits for the reader of its output before it sends the first message.
inline constexpr std::chrono::seconds kReaderTimeout{10};

}  // namespace fovea
