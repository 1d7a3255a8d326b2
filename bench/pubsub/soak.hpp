// Four cameras at 60 Hz x 1080p for minutes, each with a subscriber that keeps up, and one more
// that does not: memory and latency must stay as they are.
#pragma once

namespace fovea::bench {

// Prints a row per `step_seconds`; 0 = nothing was torn, out of order or lost to those that keep
// up.
int run_soak(double seconds, double step_seconds);

}  // namespace fovea::bench
