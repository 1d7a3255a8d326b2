// What tuning measured, kept between builds: a build that finds its layers there times nothing and
// makes the same plan again, byte for byte.
//
// A JSON file with a checksum, for one user's machines. Times are only good where they were taken,
// so they are kept by environment (timing_environment()), then by a layer's signature or a
// network's. Whoever finds it damaged, foreign or not writable measures anew. It does not grow for
// ever: the file keeps the order in which entries were last written, and beyond TimingLimits the
// oldest go, those of the environment first that was written longest ago.
//
// Thread safety: plain data and pure functions; files appear complete or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/file_io.hpp"
#include "nodes/base/result.hpp"
#include "nodes/detector/engine/tuning.hpp"

namespace fovea::engine {

struct TimedTactic {
  std::string tactic;
  double us = 0;

  bool operator==(const TimedTactic&) const = default;
};

// What suits a network as a whole, and what that brought: medians of one picture; 0 = not measured.
struct TunedNetwork {
  LayerTactics tactics;
  double untuned_ms = 0;
  double tuned_ms = 0;

  bool operator==(const TunedNetwork&) const = default;
};

struct TimingTable {
  std::map<std::string, std::vector<TimedTactic>> layers;  // by signature; fastest first
  std::map<std::string, TunedNetwork> networks;            // by hash of all its layers

  bool operator==(const TimingTable&) const = default;
};

using TimingCache = std::map<std::string, TimingTable>;  // by environment

// Of one file, over all environments: about fifty models' worth, 2 MB (20 MB after level 3).
struct TimingLimits {
  std::size_t layers = 2048;
  std::size_t networks = 128;
};

// "fovea 0.1.0 plan 4, AMD EPYC 9B45, avx512 avx512_vnni, 2 threads".
std::string timing_environment(std::string_view cpu_features, std::int32_t threads);

// Errors: kNotFound if there is none, kCorrupt for anything but what merge_into_file() writes,
// kInternal if it cannot be read.
Result<TimingCache> read_timing_cache(const std::filesystem::path& file);

// Adds `cache` to what the file holds by now, replacing entries of the same key, and drops the
// oldest beyond `limits`; a damaged file begins anew. Two builds that write in the same instant may
// lose the entries of one.
// Errors: those of write_file().
Result<> merge_into_file(const TimingCache& cache, const std::filesystem::path& file,
                         const TimingLimits& limits = {});

}  // namespace fovea::engine
