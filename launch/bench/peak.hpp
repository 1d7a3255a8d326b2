// The highest rate that is kept up with: where to start looking, and the search.
//
// Thread safety: pure functions.
#pragma once

#include <functional>
#include <vector>

#include "launch/bench/report.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bench {

// A loss below this counts as keeping up.
inline constexpr double kPeakLoss = 0.05;

// Hz of each camera that should be about the peak, from runs at another rate: what the cores allow
// at the CPU time that a frame took. 0 without runs.
double estimate_peak(const Report& report);

struct PeakSearch {
  double rate = 0;  // Hz; 0 = nothing was kept up with
  std::vector<PeakStep> steps;
};
// The highest rate at which `loss_at` (0..1) is below kPeakLoss, to within 2 %, in 16 steps at
// most. Strides away from `start` by `stride` (1.1 = 10 %), then by ever more, until the peak lies
// between two steps; then bisects. Errors: those of `loss_at`.
Result<PeakSearch> search_peak(double start, double stride,
                               const std::function<Result<double>(double rate)>& loss_at);

}  // namespace fovea::bench
