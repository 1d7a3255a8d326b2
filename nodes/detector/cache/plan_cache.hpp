// Built engines on disk, so that a node starts in the time of a file read. A cached plan is used
// only if everything that shaped it is unchanged and every checksum holds; whatever is wrong with
// the cache, the caller gets a plan, built anew if need be, and is told why.
//
// Plans are code as much as data, so a folder that others may write to is not used at all, and of a
// folder's files only this user's and root's are.
//
// A folder of `<key>.plan`, `<key>.json` (the manifest: all inputs of the key in clear) and
// `<key>.lock`. Files appear complete or not at all; a lock per key makes N processes that start
// together build once.
//
// Thread safety: const methods from any thread and any number of processes.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/plan/plan.hpp"

namespace fovea {

// In place of a precision: the fastest one within the budget of accuracy.
inline constexpr std::string_view kBestPrecision = "best";

struct PlanRequest {
  std::filesystem::path model;
  engine::BuilderConfig config;
  bool best = false;  // the builder measures which precision to take, whatever config's is
  // Letterbox::parameters() of the pictures that calibrated it; empty for fp32, which no picture
  // shapes.
  std::string preprocessing;
  // What the accuracy guard was asked; empty without one.
  std::string accuracy = {};
};

// What a plan's key is made of, by name, in a fixed order.
using KeyInputs = std::vector<std::pair<std::string, std::string>>;

// Reads the model's bytes (and its external data). Errors: kNotFound.
Result<KeyInputs> key_inputs(const PlanRequest& request);
// SHA-256 over the inputs, hex.
std::string plan_key(const KeyInputs& inputs);

struct CachedPlan {
  engine::Plan plan;
  std::string key;
  bool hit = false;
  bool kept = false;     // it is in the cache now
  bool damaged = false;  // on a miss: the cache had one that could not be used
  // On a miss, why: "no plan of this model yet", "model differs from the cached 1f2e...: threads
  // was 1, is 2", "cached plan is damaged: ...".
  std::string reason;
  // Why it is not kept, with the cure; to be shown. The plan is good.
  std::string warning;
  double seconds = 0;  // spent on loading or building, waiting for another builder included
};

// One plan in the cache, as its manifest describes it.
struct CacheEntry {
  std::string key;
  std::string model;  // absolute path at the time of building
  KeyInputs inputs;
  std::uint64_t bytes = 0;
  double build_seconds = 0;
  std::filesystem::file_time_type last_used;  // built or hit
};

struct PruneReport {
  std::vector<CacheEntry> removed;  // the ones least recently used
  std::size_t kept = 0;
  std::uint64_t kept_bytes = 0;
  std::size_t files = 0;  // removed, those of unfinished and damaged entries included
  std::uint64_t freed_bytes = 0;
  std::set<std::string> busy;  // keys that are just being built, untouched
};

// What get_or_build() would find, without building.
struct CacheStatus {
  std::string key;
  KeyInputs inputs;
  bool cached = false;
  bool damaged = false;  // it is there, but cannot be used
  std::string reason;    // why not
};

class PlanCache {
 public:
  using Builder = std::function<Result<engine::Plan>(
      const std::filesystem::path&, const engine::BuilderConfig&, const engine::Progress&)>;

  // `folder` need not exist; empty = default_folder(). Looks once whether it can be trusted.
  // `builder` builds what is missing.
  explicit PlanCache(std::filesystem::path folder = {}, Builder builder = engine::build_plan);
  // Finds nothing and keeps nothing.
  static PlanCache none(Builder builder = engine::build_plan);

  // Neither read nor written: none(), or a folder that cannot be trusted; refusal() says why.
  bool is_used() const { return is_used_; }
  // To be shown; empty if the cache is used, or is none() by the caller's wish.
  const std::string& refusal() const { return refusal_; }

  // $FOVEA_CACHE_DIR, else $XDG_CACHE_HOME/fovea, else ~/.cache/fovea, else /tmp/fovea-cache-UID.
  static std::filesystem::path default_folder();
  // Where builds that use this cache keep what tuning measured; empty = nowhere.
  std::filesystem::path timing_cache() const;
  // The same for what calibrating with the plan of this key found.
  std::filesystem::path calibration_table(const std::string& key) const;

  // Errors: only the model's own, that is key_inputs()'s and the builder's. Never the cache's.
  Result<CachedPlan> get_or_build(const PlanRequest& request,
                                  const engine::Progress& progress = {}) const;

  // Errors: key_inputs()'s.
  Result<CacheStatus> status(const PlanRequest& request) const;

  // The plan of a key after all checks. Errors: kNotFound (not in the cache), kCorrupt with the
  // reason.
  Result<engine::Plan> find(const std::string& key, const KeyInputs& inputs) const;

  // Entries with a readable manifest, by model, then key.
  std::vector<CacheEntry> list() const;

  // Removes what is unfinished or damaged, then the least recently used plans, until the rest takes
  // at most `max_bytes`. Safe beside builders and readers. With `dry_run` only says what it would
  // do. Errors: kInternal if a file cannot be removed, kInvalidArgument with refusal().
  Result<PruneReport> prune(std::uint64_t max_bytes, bool dry_run = false) const;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path path(const std::string& key, const char* suffix) const;
  Result<CacheEntry> read_entry(const std::filesystem::path& manifest) const;
  std::string why_missing(const PlanRequest& request, const KeyInputs& inputs,
                          const Error& error) const;
  Result<> store(CachedPlan& built, const PlanRequest& request, const KeyInputs& inputs) const;

  std::filesystem::path folder_;
  bool is_used_ = true;
  std::string refusal_;
  Builder builder_;
};

}  // namespace fovea
