#include "launch/bench/rivals.hpp"

#include <array>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "launch/install_paths.hpp"
#include "launch/supervision/child_process.hpp"
#include "nodes/base/json.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;

struct Kind {
  const char* argument;
  const char* name;
  const char* what;
};
constexpr std::array<Kind, 3> kKinds{{
    {"opencv", "OpenCV DNN",
     "one process: VideoCapture, blobFromImage, OpenCV's DNN in f32, decoding and NMS"},
    {"onnxruntime", "ONNX Runtime", "the same loop with ONNX Runtime in f32"},
    {"copying", "copying ZeroMQ",
     "our stages and engine in as many processes, payloads inside ZeroMQ messages"},
}};

std::string option_path(const std::string& uri) {
  constexpr std::string_view kFile = "file://";
  return uri.starts_with(kFile) && uri.find('?') == std::string::npos ? uri.substr(kFile.size())
                                                                      : "";
}

// The last line of what the rival printed is its answer, or what it died of.
Json ask(const std::vector<std::string>& command) {
  auto child = launch::ChildProcess::spawn(command, {});
  if (!child) return {{"missing", child.error().message}};
  std::string last;
  const auto read = [&] { (*child)->read_output([&](std::string_view line) { last = line; }); };
  while (!(*child)->reap()) {
    read();
    if (Executor::stop_signalled()) return {{"missing", "interrupted"}};
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  read();
  Json answer = parse_json(last);
  if (!answer.is_object()) return {{"missing", last.empty() ? "it said nothing" : last}};
  return answer;
}

// Adds one run to `rival`. Returns why it could not, "" if it could.
std::string measure(const Kind& kind, const BenchConfig& config, double our_fps, Rival& rival) {
  const fs::path program = launch::executable_directory() / "fovea-bench-rivals";
  const std::string video = option_path(config.video);
  if (!fs::exists(program))
    return "fovea-bench-rivals is not here; it lies in the build folder's bin/";
  if (video.empty()) return "needs a video file";
  const Json answer =
      ask({program, kind.argument, "--video", video, "--model", config.model, "--cameras",
           std::to_string(config.cameras), "--precision", config.precision, "--calibration",
           config.calibration, "--score-threshold", fmt::format("{}", config.score_threshold),
           "--warmup", fmt::format("{}", config.warmup_s), "--duration",
           fmt::format("{}", config.duration_s)});
  std::string missing = answer.value("missing", "");
  if (!missing.empty()) return missing;
  rival.fps.push_back(answer.value("fps", 0.0));
  rival.p50_ms.push_back(answer.value("p50_ms", 0.0));
  rival.p99_ms.push_back(answer.value("p99_ms", 0.0));
  rival.cpu_percent.push_back(answer.value("cpu_percent", 0.0));
  rival.ratio.push_back(rival.fps.back() > 0 ? our_fps / rival.fps.back() : 0);
  return "";
}

}  // namespace

void measure_rivals(const BenchConfig& config, double our_fps, std::vector<Rival>& rivals) {
  rivals.resize(kKinds.size());
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    const Kind& kind = kKinds[i];
    Rival& rival = rivals[i];
    rival.name = kind.name;
    rival.what = kind.what;
    if (!rival.missing.empty()) continue;  // what is missing once is missing
    std::string why = "interrupted";
    if (!Executor::stop_signalled()) {
      print_error("fovea bench: rival: {}", kind.name);
      why = measure(kind, config, our_fps, rival);
    }
    if (why.empty()) continue;
    if (rival.fps.empty()) {
      rival.missing = why;
    } else {
      print_error("fovea bench: rival: {}: {}; what was measured before counts", kind.name, why);
    }
  }
}

}  // namespace fovea::bench
