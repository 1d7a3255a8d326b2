// Measures the rivals that are built here, each in processes of its own, with nothing of ours
// running.
//
// Thread safety: one call at a time.
#pragma once

#include <vector>

#include "launch/bench/report.hpp"

namespace fovea::bench {

// One more run of each. `our_fps`: what the pipeline sustains. A rival that cannot be measured says
// why; that is no error. Runs that were measured stay, whatever becomes of later ones.
void measure_rivals(const BenchConfig& config, double our_fps, std::vector<Rival>& rivals);

}  // namespace fovea::bench
