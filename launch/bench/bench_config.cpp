#include "launch/bench/bench_config.hpp"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "launch/install_paths.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/camera/frame_source.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kMaxCameras = 16;
constexpr std::uint32_t kMaxBatch = 64;   // as the detector's parameter
constexpr std::uint64_t kImageSlots = 6;  // 4 slots and room for rounding to pages

// A double-quoted YAML scalar: JSON's strings are YAML's.
std::string yaml_string(std::string_view text) { return nlohmann::json(text).dump(); }

tl::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::string with_scheme(const std::string& video) {
  if (video.find("://") != std::string::npos) return video;
  return "file://" + fs::absolute(video).string();
}

std::string file_path(const std::string& uri) {
  if (!uri.starts_with("file://")) return "";
  return uri.substr(7, uri.find('?') == std::string::npos ? std::string::npos : uri.find('?') - 7);
}

Result<> find_model(BenchConfig& config, const fs::path& share) {
  if (config.model.empty()) config.model = "yolov8n_demo_dynamic.onnx";
  if (!fs::exists(config.model)) {
    const fs::path shipped = share / "config" / "models" / config.model;
    if (!fs::exists(shipped))
      return fail(ErrorCode::kNotFound,
                  fmt::format("--model is {}; there is no such file", config.model.string()));
    config.model = shipped;
  }
  config.model = fs::absolute(config.model);
  if (config.precision == "fp32" || config.precision == "fp16" || config.precision == "bf16") {
    return {};
  }
  if (config.calibration.empty()) {
    fs::path table = config.model;
    table.replace_extension(".calibration.json");
    if (!fs::exists(table)) {
      return invalid(
          fmt::format("--precision is {}; that needs --calibration, a folder of pictures "
                      "or a table: there is no {}",
                      config.precision, table.string()));
    }
    config.calibration = table;
  }
  config.calibration = fs::absolute(config.calibration);
  return {};
}

Result<> check(const BenchConfig& config) {
  if (config.cameras < 1 || config.cameras > kMaxCameras)
    return invalid(fmt::format("--cameras is {}; it must be 1..{}", config.cameras, kMaxCameras));
  if (!(config.rate == kMaxRate || (config.rate > 0 && config.rate <= 1000)))
    return invalid(fmt::format("--rate is {}; it must be `max` or up to 1000", config.rate));
  if (!(config.duration_s >= 1 && config.duration_s <= 86400))
    return invalid(fmt::format("--duration is {} s; it must be 1..86400", config.duration_s));
  if (!(config.warmup_s >= 0 && config.warmup_s <= 3600))
    return invalid(fmt::format("--warmup is {} s; it must be 0..3600", config.warmup_s));
  if (config.runs < 1 || config.runs > 1000)
    return invalid(fmt::format("--runs is {}; it must be 1..1000", config.runs));
  if (config.precision != "fp32" && config.precision != "fp16" && config.precision != "int8" &&
      config.precision != "bf16" && config.precision != "best")
    return invalid(fmt::format("--precision is {}; it must be fp32, fp16, int8, bf16 or best",
                               config.precision));
  if (config.max_batch > kMaxBatch)
    return invalid(fmt::format("--batch is {}; it must be 0 (what suits) or up to {}",
                               config.max_batch, kMaxBatch));
  std::error_code ignored;
  if (!config.programs.empty() && !fs::is_directory(config.programs, ignored))
    return invalid(
        fmt::format("{} is no folder; programs are to come from it", config.programs.string()));
  return {};
}

class LaunchText {
 public:
  explicit LaunchText(const BenchConfig& config) : config_(config) { text_ = "launch:\n"; }

  void begin(const std::string& name, std::string_view executable) {
    text_ += fmt::format("  - node:\n      exec: {}\n      name: {}\n      respawn: true\n",
                         yaml_string(program(config_, executable).string()), name);
    name_ = name;
    parameters_ = fmt::format("      param:\n        - {{from: \"$(share)/config/{}.yaml\"}}\n",
                              executable.substr(executable.find('-') + 1));
  }
  void attribute(std::string_view line) { text_ += fmt::format("      {}\n", line); }
  void parameter(std::string_view name, std::string_view value) {
    parameters_ += fmt::format("        - {{name: {}, value: {}}}\n", name, value);
  }
  void end() {
    for (const auto& [key, value] : config_.parameters) {
      if (key.starts_with(name_ + "."))
        parameter(key.substr(name_.size() + 1), yaml_string(value));
      else if (key.starts_with("camera.") && name_.starts_with("cam"))
        parameter(key.substr(7), yaml_string(value));
    }
    text_ += parameters_;
  }
  std::string take() { return std::move(text_); }

 private:
  const BenchConfig& config_;
  std::string text_, name_, parameters_;
};

}  // namespace

std::string camera_name(std::size_t index) { return fmt::format("cam{}", index); }

fs::path program(const BenchConfig& config, std::string_view name) {
  std::error_code ignored;
  if (!config.programs.empty() && fs::exists(config.programs / name, ignored))
    return config.programs / name;
  return launch::executable_directory() / name;
}

Result<> complete(BenchConfig& config, const fs::path& share) {
  FOVEA_TRY(check(config));
  config.video = with_scheme(config.video);
  if (!config.programs.empty()) config.programs = fs::absolute(config.programs);
  FOVEA_TRY(find_model(config, share));
  for (const auto& [key, value] : config.parameters) {
    if (key.find('.') == std::string::npos || value.empty())
      return invalid(fmt::format("--parameter is {}={}; write node.parameter=value", key, value));
  }
  FOVEA_ASSIGN(auto source, frames::make_frame_source(config.video, {.loop = true}));
  FOVEA_TRY(source->open());
  const frames::SourceInfo& info = source->info();
  config.width = info.width;
  config.height = info.height;
  config.video_s = info.duration.value_or(0);
  return {};
}

std::string launch_file(const BenchConfig& config) {
  std::string cameras;
  for (std::size_t i = 0; i < config.cameras; ++i) {
    cameras += (i == 0 ? "[" : ", ") + camera_name(i);
  }
  cameras += "]";
  LaunchText text(config);

  text.begin("postprocess", "fovea-postprocess");
  text.parameter("cameras", cameras);
  text.parameter("score_threshold", fmt::format("{}", config.score_threshold));
  text.end();

  text.begin("detector", "fovea-detector");
  text.attribute("depends_on: [postprocess]");
  text.attribute("start_timeout: 600");
  // Idle threads sleep soon; others need the cores too.
  text.attribute("env: [{name: GOMP_SPINCOUNT, value: \"1000\"}]");
  text.parameter("cameras", cameras);
  text.parameter("model", yaml_string(config.model.string()));
  text.parameter("precision", config.precision);
  text.parameter("calibration", yaml_string(config.calibration));
  text.parameter("max_batch", fmt::format("{}", config.max_batch));
  text.parameter("build", "wait");  // one engine from the first frame to the last
  text.end();

  text.begin("preprocess", "fovea-preprocess");
  text.attribute("depends_on: [detector]");
  text.parameter("cameras", cameras);
  text.end();

  for (std::size_t i = 0; i < config.cameras; ++i) {
    const double part = static_cast<double>(i) / config.cameras;
    text.begin(camera_name(i), "fovea-camera");
    text.attribute("depends_on: [preprocess]");
    text.attribute(
        fmt::format("shm_size: {}", std::uint64_t{3} * config.width * config.height * kImageSlots));
    text.parameter("uri", yaml_string(config.video));
    text.parameter("rate", config.rate == kMaxRate ? "-1" : fmt::format("{}", config.rate));
    text.parameter("phase", config.phase == Phase::kSpread ? fmt::format("{:.6f}", part) : "0");
    text.parameter("start_offset", fmt::format("{:.3f}", part * config.video_s));
    text.parameter("seed", fmt::format("{}", i + 1));
    text.parameter("loop", "true");
    text.end();
  }
  return text.take();
}

Result<InputHashes> hash_inputs(const BenchConfig& config) {
  const auto hash = [](std::span<const std::byte> bytes) {
    engine::Sha256 sha;
    sha.add(bytes);
    return sha.finish();
  };
  InputHashes hashes;
  FOVEA_ASSIGN(const auto model, read_file(config.model.string()));
  hashes.model = hash(model);
  if (const std::string path = file_path(config.video); !path.empty()) {
    FOVEA_ASSIGN(const auto video, read_file(path));
    hashes.video = hash(video);
  } else {
    hashes.video = hash(std::as_bytes(std::span(config.video)));
  }
  return hashes;
}

}  // namespace fovea::bench
