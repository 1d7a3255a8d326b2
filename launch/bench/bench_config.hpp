// What a run is asked to do, and the launch file that does it.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nodes/base/result.hpp"

namespace fovea::bench {

inline constexpr double kMaxRate = 0;  // as fast as the source can

// When the cameras' frames are due, relative to each other.
enum class Phase {
  kSpread,   // evenly over the period: the load of many independent cameras, the same in every run
  kAligned,  // all at once: cameras behind one trigger
};

struct BenchConfig {
  std::string video;  // URI; a plain path becomes file://
  std::uint32_t cameras = 1;
  double rate = 10;  // frames a second of each camera, or kMaxRate
  Phase phase = Phase::kSpread;
  std::filesystem::path model;
  std::string precision = "fp32";  // fp32, int8, best
  std::string calibration;         // empty: the table beside the model, if there is one
  std::uint32_t max_batch = 0;     // 0 = what suits the provider
  double score_threshold = 0.25;
  double duration_s = 10;
  double warmup_s = 2;
  std::uint32_t runs = 3;
  // `node.parameter=value` on top of everything, for trying a setting.
  // `camera` stands for every camera.
  std::vector<std::pair<std::string, std::string>> parameters;
  // Folder with other programs of `fovea launch` and the nodes; what is not in it, or all where
  // this is empty, are those of this installation.
  std::filesystem::path programs;

  // Found by complete().
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  double video_s = 0;  // of one pass; cameras start spread over it. 0 = unknown
};

std::string camera_name(std::size_t index);  // "cam0"

// Fills in what was left open and checks the rest: finds the model among the shipped ones, its
// calibration table, makes paths absolute. Errors: kInvalidArgument, kNotFound; they say which
// option.
Result<> complete(BenchConfig& config, const std::filesystem::path& share);

// Where `name` ("fovea", "fovea-detector") lies: in `config.programs` if it is there.
std::filesystem::path program(const BenchConfig& config, std::string_view name);

// A launch file (YAML) of `config`. REQUIRES: completed.
std::string launch_file(const BenchConfig& config);

// SHA-256 of the input (the video file's bytes; the URI itself where there is no file) and of the
// model file. Errors: kNotFound.
struct InputHashes {
  std::string video;
  std::string model;
};
Result<InputHashes> hash_inputs(const BenchConfig& config);

}  // namespace fovea::bench
