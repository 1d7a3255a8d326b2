// What an engine is to be, as one plain value: the command line, the detector node and the builder
// process fill it from the same table of options, so that an option is one row and one use.
//
// Thread safety: plain values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "nodes/detector/accuracy/accuracy_guard.hpp"
#include "nodes/detector/cache/plan_cache.hpp"
#include "nodes/detector/engine/tuning.hpp"
#include "nodes/imaging/size_limit.hpp"

namespace fovea {

struct EngineRequest {
  std::string model;  // ONNX file
  std::string provider = "cpu";
  std::string precision = "fp32";  // of engine::kPrecisionNames, or kBestPrecision
  std::int64_t max_batch = 0;      // 0 = what suits the provider
  std::int64_t threads = 0;        // 0 = as many as help, at most one per core that this process may use
  std::string input_size;          // "640" or "640x480", width first; empty = the model's own
  std::string min_shapes;          // "images:1x3x320x320"; together a profile of sizes
  std::string opt_shapes;
  std::string max_shapes;
  bool keep_output0 = false;
  std::string head = "auto";

  // How pictures become the input, where the model's own words or the default are wrong: one of the
  // names in input_spec.hpp, or "auto". `mean` and `std`: parse_per_channel(), or empty.
  std::string color = "auto";
  std::string value_range = "auto";
  std::string mean;
  std::string std;
  std::string resize = "auto";
  std::int64_t pad = -1;  // -1 = the model's

  // In place of the model's metadata.
  std::string task = "auto";  // of kTaskNames, or "auto"
  std::string names;          // file for read_class_names_file(); empty = the model's

  std::int64_t tuning_level = engine::kDefaultTuningLevel;
  double tuning_limit_s = engine::TuningConfig().max_seconds;
  std::string timing_cache;  // file; empty = in the cache folder

  // For int8 and best.
  std::string calibration;        // folder of pictures, or a table made from them
  std::string calibration_table;  // file: read if it was made from the same pictures, else written
  std::string calibrator = "percentile";
  std::string verify;  // folder to measure accuracy on; empty = `calibration`
  double max_map_loss = GuardOptions().max_map_loss;
  double min_agreement = GuardOptions().min_agreement;
  std::int64_t max_pixels = imaging::kDefaultMaxPixels;

  std::string cache_dir;  // empty = PlanCache::default_folder()
  bool no_cache = false;

  // Whether pictures, or a table made from them, shape its plan.
  bool quantizes() const {
    return precision == kBestPrecision || precision == to_string(engine::Precision::kInt8);
  }
};

struct EngineOption {
  using Member = std::variant<bool EngineRequest::*, std::int64_t EngineRequest::*,
                              double EngineRequest::*, std::string EngineRequest::*>;

  std::string name;  // snake_case: the detector's parameter, and the key in JSON
  std::string flag;  // of `fovea engine`
  Member member;
  std::string description;
  double least = 0;  // numbers
  double most = 0;
  std::string unit = {};
  std::vector<std::string> choices = {};  // texts; empty = any
  enum class Names : std::uint8_t { kNothing, kFile, kFileOrFolder } names = Names::kNothing;
  bool is_parameter = true;      // of the detector
  bool is_quantization = false;  // means something for int8 and best only
};

// In the order in which people should read them.
const std::vector<EngineOption>& engine_options();

enum class Spelling { kFlags, kParameters };

// Errors: kInvalidArgument with the option as it is spelled, its value and what would be valid.
Result<> validate(const EngineRequest& request, Spelling spelling);

// The request as a plan's: zeros and empty paths filled in. Errors: validate()'s.
Result<PlanRequest> plan_request(const EngineRequest& request, Spelling spelling);

// The cache that it names.
PlanCache plan_cache(const EngineRequest& request, PlanCache::Builder builder = engine::build_plan);

// One line of JSON, and back. Errors: kInvalidArgument for what is no such object, an unknown key or
// a value of another type.
std::string to_json(const EngineRequest& request);
Result<EngineRequest> engine_request_from_json(std::string_view text);

}  // namespace fovea
