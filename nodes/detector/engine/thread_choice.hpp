// How many threads a plan runs on, measured: second threads of a core, little cores and small
// networks each stop helping somewhere.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "nodes/base/result.hpp"
#include "nodes/detector/engine/plan/plan.hpp"
#include "nodes/detector/engine/tuning.hpp"

namespace fovea::engine {

// The fewest threads whose time is next to the least: others may want the cores. 0 of none.
std::int32_t fewest_that_help(std::span<const TimedThreads> times);

// Sets plan.threads to what helps most of config.thread_counts, from the timing cache or by running
// engines of two counts in turns; says so in report.threads. A plan without such counts stays as it is,
// and so does every plan in a process of less than normal priority. Errors: load_engine()'s, kUnavailable if config.keep_going() ends it.
Result<> choose_threads(Plan& plan, const TuningConfig& config, TuningReport& report);

}  // namespace fovea::engine
