// What tuning is asked for and what it says: which of its kernels a provider runs each layer with
// is measured on the machine that builds, and is part of the plan.
//
// Thread safety: plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::engine {

// The kernel of a layer, by layer name, in the words of its provider: "avx512_vnni/4x5/weights".
using LayerTactics = std::map<std::string, std::string>;

// Called with the stage that begins and the part of the work that is done, 0..1.
using Progress = std::function<void(std::string_view stage, double done)>;

// Of one picture: the median.
struct TimedThreads {
  std::int32_t threads = 0;
  double ms = 0;
};

struct TuningReport {
  std::size_t layers = 0;   // that have a choice of tactics
  std::size_t changed = 0;  // that take another than the first guess
  std::size_t known = 0;    // whose times came from the timing cache
  bool cached = false;      // the whole choice came from the timing cache
  double untuned_ms = 0;    // of one picture, medians of alternating runs; 0 = not measured
  double tuned_ms = 0;
  double seconds = 0;
  std::vector<TimedThreads> threads;  // of each of TuningConfig::thread_counts, if it has several
  std::vector<std::string> rejected;  // "LAYER: TACTIC: reason" of tactics that computed wrongly
  std::string note;                   // why there is nothing tuned, or less than there might be
  std::string warning;                // what is wrong with the timing cache; it harms nothing
};

inline constexpr std::int32_t kMaxTuningLevel = 3;
inline constexpr std::int32_t kDefaultTuningLevel = 2;  // of the tools; the library's default is 0

struct TuningConfig {
  // 0: every layer takes its first guess. 1: the fastest of the 12 tactics guessed best, each timed
  // alone. 2: the fastest few of them again inside the network. 3: as 2, of all tactics.
  std::int32_t level = 0;
  // The fastest of these is taken for the plan's threads, least first; fewer than two: it keeps its
  // own.
  std::vector<std::int32_t> thread_counts = {};
  double max_seconds = 60;  // then what was not measured keeps the first guess
  // Timing cache file, read and added to about once a second, so that a build that dies is
  // continued by the next one; empty = none.
  std::filesystem::path cache = {};
  // Asked between two measurements; false ends tuning with kUnavailable, what was measured is kept.
  std::function<bool()> keep_going = {};
  std::function<void(const TuningReport&)> report = {};  // called once, before the plan is returned
};

}  // namespace fovea::engine
