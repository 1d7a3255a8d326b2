// How long the provider "cuda" takes for a batch by the GPU's own clock: pictures on the GPU to raw maps on the GPU, a
// graph of launches, the median of many. bench/gpu/peers.py times PyTorch on the same machine.
//
//   fovea-bench-gpu MODEL.onnx... [--batches 1,8,32] [--precision fp16|fp32] [--tuning 0..3] [--layers]
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cuda/compiler.hpp"
#include "nodes/detector/engine/cuda/context.hpp"
#include "nodes/detector/engine/cuda/tuner.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace {

using namespace fovea;
using namespace fovea::engine;

struct Options {
  std::vector<std::filesystem::path> models;
  std::vector<std::int32_t> batches = {1, 8, 32};
  Precision precision = Precision::kFp16;
  std::int32_t tuning = kDefaultTuningLevel;
  bool layers = false;
};

constexpr std::size_t kRepetitions = 301;

Result<Options> read(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    const auto value = [&]() -> std::string_view { return i + 1 < count ? words[++i] : ""; };
    const auto number = [](std::string_view text) {
      std::int32_t result = 0;
      const auto end = std::from_chars(text.data(), text.data() + text.size(), result);
      return end.ec == std::errc() && end.ptr == text.data() + text.size() ? result : -1;
    };
    if (word == "--layers") {
      options.layers = true;
    } else if (word == "--tuning") {
      options.tuning = number(value());
    } else if (word == "--precision") {
      const auto precision = parse_precision(value());
      if (!precision) return fail(ErrorCode::kInvalidArgument, "--precision must be fp16 or fp32");
      options.precision = *precision;
    } else if (word == "--batches") {
      options.batches.clear();
      for (std::string_view list = value(); !list.empty();) {
        options.batches.push_back(number(list.substr(0, list.find(','))));
        list.remove_prefix(std::min(list.find(','), list.size() - 1) + 1);
      }
    } else if (word.starts_with("--")) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "unknown option '{}'; usage: fovea-bench-gpu MODEL.onnx... [--batches 1,8,32] "
              "[--precision fp16|fp32] [--tuning 0..3] [--layers]",
              word));
    } else {
      options.models.emplace_back(word);
    }
  }
  for (const std::int32_t batch : options.batches) {
    if (batch < 1) return fail(ErrorCode::kInvalidArgument, "--batches must be numbers from 1 on");
  }
  if (options.tuning < 0 || options.tuning > kMaxTuningLevel) {
    return fail(ErrorCode::kInvalidArgument, "--tuning must be 0..3");
  }
  if (options.models.empty())
    return fail(ErrorCode::kInvalidArgument, "no model; it must be an ONNX file");
  return options;
}

// Every layer in f16, as a plan of that precision has it.
void set_precision(NetworkDefinition& network, Precision precision) {
  if (precision == Precision::kFp32) return;
  network.quantization.values.assign(network.values.size(), {});
  network.quantization.layers.assign(network.layers.size(), {Precision::kFp16, {}, 0, 0});
}

Result<> print_layers(cuda::GpuContext& context, const cuda::Program& program,
                      const EngineInfo& info) {
  constexpr int kRuns = 20;
  const auto items = static_cast<std::size_t>(info.max_batch);
  const Bindings bindings(info, items);
  std::vector<std::chrono::nanoseconds> times(program.launches.size());
  (void)context.record_layer_times(times);
  for (int i = 0; i < kRuns; ++i) FOVEA_TRY(context.execute(bindings.batch(items)));
  (void)context.record_layer_times({});
  for (std::size_t i = 0; i < times.size(); ++i) {
    fmt::print("  {:8.2f} us  {}  {}\n", static_cast<double>(times[i].count()) / 1e3 / kRuns,
               program.launches[i].layer, program.launches[i].choices.back().kernel);
  }
  return {};
}

Result<> measure(const cuda::Gpu& gpu, const Options& options, const std::filesystem::path& model) {
  BuilderConfig config;
  config.provider = "reference";  // the network alone is wanted
  FOVEA_ASSIGN(Plan plan, build_plan(model, config));
  set_precision(plan.network, options.precision);
  for (const std::int32_t batch : options.batches) {
    FOVEA_ASSIGN(const EngineInfo info,
                 describe_engine(plan.network, "cuda", {.max_batch = batch}));
    LayerTactics tactics;
    TuningReport report;
    if (options.tuning > 0) {
      const auto start = std::chrono::steady_clock::now();
      FOVEA_ASSIGN(tactics, cuda::tune(
                                gpu, plan.network, info, {.level = options.tuning},
                                [](std::string_view, double) {}, report));
      report.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    FOVEA_ASSIGN(
        cuda::Program program,
        cuda::compile(plan.network, {.tactics = tactics, .images = batch, .limits = gpu.limits()}));
    FOVEA_ASSIGN(const cuda::LoadedProgram loaded, cuda::load_program(gpu, std::move(program)));
    FOVEA_ASSIGN(const auto context, cuda::GpuContext::create(loaded, info));
    FOVEA_ASSIGN(const auto time,
                 context->time_batches(static_cast<std::size_t>(batch), kRepetitions));
    const double us = static_cast<double>(time.count()) / 1e3;
    fmt::print("{} {} batch {}: {:.1f} us, {:.0f} images/s, {} launches, tuned in {:.1f} s\n",
               model.filename().string(), to_string(options.precision), batch, us, batch / us * 1e6,
               loaded.program.launches.size(), report.seconds);
    std::fflush(stdout);
    if (options.layers) FOVEA_TRY(print_layers(*context, loaded.program, info));
  }
  return {};
}

Result<> run(int count, char** words) {
  FOVEA_ASSIGN(const Options options, read(count, words));
  FOVEA_ASSIGN(const cuda::Gpu* gpu, cuda::Gpu::find());
  fmt::print("{}\n", gpu->identity());
  for (const auto& model : options.models) FOVEA_TRY(measure(*gpu, options, model));
  return {};
}

}  // namespace

int main(int count, char** words) {
  const auto done = run(count, words);
  if (done) return EXIT_SUCCESS;
  fmt::print(stderr, "fovea-bench-gpu: {}\n", done.error().message);
  return EXIT_FAILURE;
}
