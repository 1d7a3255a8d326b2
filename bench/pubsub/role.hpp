// What the bench's child processes do, and what they report through a pipe.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/pubsub/transport.hpp"

namespace fovea::bench {

// Of one process, over the measured part of its run.
struct RoleReport {
  std::uint64_t frames = 0;      // published, or received
  std::uint64_t lost = 0;        // gaps in the numbers
  std::uint64_t torn = 0;        // pixels of another frame
  std::uint64_t disordered = 0;  // numbers that repeat or go back
  std::uint64_t not_loaned = 0;  // no room for a frame
  std::uint64_t context_switches = 0;
  double cpu_seconds = 0;  // of all threads, user and system
  double seconds = 0;
  std::uint64_t samples = 0;  // that many latencies follow, twice: ns until held, ns until read
};

// A part of a soak, from a sink.
struct SoakReport {
  std::uint64_t frames = 0, lost = 0, torn = 0, disordered = 0;
  double p50_us = 0, p99_us = 0, max_us = 0;  // until held
};

// Both end with 3, and take what they have in shared memory along, when standard input is closed:
// nobody wants their figures any more.
//
// Publishes: waits for the subscribers, then for a byte on standard input; writes a RoleReport to
// standard output.
int run_source(const Job& job);
// Receives: writes a byte when it is ready, then SoakReports or a RoleReport with its latencies.
int run_sink(const Job& job);

// The value below which `fraction` of the samples lie; 0 without any. Reorders them.
double percentile_us(std::vector<std::uint32_t>& samples_ns, double fraction);

}  // namespace fovea::bench
