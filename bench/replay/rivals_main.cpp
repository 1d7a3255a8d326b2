// `fovea-bench-rivals`: one rival a process, started by `fovea bench replay --rivals`. Not
// installed: the product links none of these libraries.
#include <cstdio>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "bench/engine/rival_model.hpp"
#include "bench/replay/rival_loop.hpp"
#include "bench/replay/rival_pipeline.hpp"
#include "nodes/base/cores.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;

Result<RivalFigures> run_network_loop(const RivalTask& task, const std::string& kind) {
  FOVEA_ASSIGN(const auto plan, engine::build_plan(task.model, {}));
  if (plan.network.head.spec.bins() == 0)
    return fail(ErrorCode::kUnsupported, "needs the head of YOLOv8 or 11");
  FOVEA_ASSIGN(const auto own, engine::load_engine(plan));
  const engine::EngineInfo& info = own->info();
  const auto height = info.input.dims.at(0);
  const auto width = info.input.dims.at(1);
  RivalModel cut{{1, 3, height, width},
                 {},
                 fs::temp_directory_path() / fmt::format("fovea-rival-{}.onnx", getpid())};
  for (const engine::ValueId output : plan.network.outputs) {
    for (const engine::Layer& layer : plan.network.layers) {
      if (layer.outputs[0] == output) cut.ends.push_back(layer.name);
    }
  }
  FOVEA_TRY(write_rival_model(task.model, cut));
  const int threads = usable_cores();
  const auto make = kind == "opencv" ? make_opencv_network : make_onnxruntime_network;
  auto network =
      make(cut.file, threads, static_cast<std::size_t>(height), static_cast<std::size_t>(width));
  fs::remove(cut.file);
  if (!network) return fail(std::move(network).error());
  return run_loop(task, info, **network);
}

int run(int argc, char** argv) {
  CLI::App app("One rival of the pipeline on the same video and model", "fovea-bench-rivals");
  RivalTask task;
  std::string kind;
  app.add_option("kind", kind)
      ->required()
      ->check(CLI::IsMember({"opencv", "onnxruntime", "copying"}));
  app.add_option("--video", task.video, "Video file")->required();
  app.add_option("--model", task.model, "ONNX file")->required();
  app.add_option("--cameras", task.cameras, "Cameras");
  app.add_option("--precision", task.precision, "Of the copying pipeline's network");
  app.add_option("--calibration", task.calibration, "For int8 and best");
  app.add_option("--score-threshold", task.score_threshold, "Least score of a detection");
  app.add_option("--warmup", task.warmup_s, "Seconds before measuring");
  app.add_option("--duration", task.duration_s, "Measured seconds");
  CLI11_PARSE(app, argc, argv);
  const auto figures =
      kind == "copying" ? run_copying_pipeline(task) : run_network_loop(task, kind);
  if (!figures) {
    print_out("{}\n", nlohmann::json{{"missing", figures.error().message}}.dump());
    return 1;
  }
  print_out(
      "{{\"fps\": {}, \"p50_ms\": {}, \"p99_ms\": {}, \"cpu_percent\": {}, \"detections\": {}}}\n",
      figures->fps, figures->p50_ms, figures->p99_ms, figures->cpu_percent, figures->detections);
  return 0;
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  fovea::prepare_process();
  return fovea::bench::run(argc, argv);
}
