// From a request to a plan: out of the cache, or built, calibrated, measured and tuned. What the
// command line, the builder process and a node's look into the cache share.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/detector/cache/engine_request.hpp"

namespace fovea {

// What a caller hears of it, all from the calling thread. Empty ones are not called.
struct EngineBuildEvents {
  engine::Progress progress;
  std::function<void(std::string_view)> information;  // what was found, for people who asked for it
  std::function<void(std::string_view)> warning;      // what they should know anyway
  std::function<void(const engine::TuningReport&)> tuned;
  std::function<bool()> keep_going;  // false ends it between two steps with kUnavailable
};

// What a build may do with the cache that its request names.
enum class CacheUse : std::uint8_t {
  kAll,
  kFindOnly,   // kNotFound and why, for what would be calibrated or built
  kTimesOnly,  // neither look for an engine nor keep one; what tuning measures is read and added to
};

// `reader` reads pictures: calibrating from them and measuring on them are the only uses.
// Errors: validate()'s, the model's, the pictures', and kUnsupported if int8 is refused by the
// accuracy guard; never the cache's.
Result<CachedPlan> build_or_load(const EngineRequest& request, const PictureReader& reader,
                                 const EngineBuildEvents& events,
                                 Spelling spelling = Spelling::kFlags,
                                 CacheUse use = CacheUse::kAll);

// What a step of a longer work reports to, 0..1, as the part [from, to] of the whole, which must
// outlive it.
engine::Progress part_of(const engine::Progress& whole, double from, double to);

}  // namespace fovea
