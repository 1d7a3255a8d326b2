// Whole networks on the CPU: our own kernels in INT8, FP16 and f32 against oneDNN in f32, turn by
// turn in one process, so that a busy machine disturbs all alike. Compare the ratios, which are of
// the same rounds, rather than the milliseconds.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <unistd.h>

#include "nodes/detector/engine/calibrator.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/engine/onnx_parser.hpp"
#include "nodes/detector/engine/passes/passes.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct AlignedDelete {
  void operator()(std::byte* memory) const { ::operator delete[](memory, std::align_val_t{64}); }
};
using AlignedMemory = std::unique_ptr<std::byte[], AlignedDelete>;
AlignedMemory allocate(std::size_t bytes) {
  return AlignedMemory(new (std::align_val_t{64}) std::byte[bytes]);
}

// Noise: times do not depend on the numbers.
Result<> paint(std::size_t index, std::span<std::byte> picture) {
  std::mt19937 random(static_cast<unsigned>(index));
  for (std::byte& byte : picture) byte = static_cast<std::byte>(random() & 0xFF);
  return {};
}

struct Contestant {
  std::string name;
  double load_ms = 0;
  std::shared_ptr<const Engine> engine;
  std::unique_ptr<ExecutionContext> context;
  std::vector<AlignedMemory> memory;
  std::vector<void*> outputs;
  const void* input = nullptr;
  std::vector<double> times;
  std::vector<std::chrono::nanoseconds> layer_times;

  Result<> prepare(const Provider& provider, const NetworkDefinition& network,
                   std::int32_t threads) {
    const auto start = Clock::now();
    FOVEA_ASSIGN(EngineInfo info, describe_engine(network, provider.name, {.threads = threads}));
    FOVEA_ASSIGN(engine, provider.load(network, std::move(info)));
    FOVEA_ASSIGN(context, engine->create_execution_context());
    load_ms = milliseconds(Clock::now() - start);
    const std::size_t bytes = engine->info().input.bytes;
    memory.push_back(allocate(bytes));
    FOVEA_TRY(paint(0, {memory.back().get(), bytes}));
    input = memory.back().get();
    for (const TensorSpec& output : engine->info().outputs) {
      memory.push_back(allocate(output.bytes));
      outputs.push_back(memory.back().get());
    }
    return {};
  }
  Result<> run(bool count) {
    const BatchItem item{input, outputs};
    const auto start = Clock::now();
    FOVEA_TRY(context->execute({&item, 1}));
    if (count) times.push_back(milliseconds(Clock::now() - start));
    return {};
  }
};

void print_layers(const Contestant& contestant, std::size_t rounds) {
  const auto cpu = std::dynamic_pointer_cast<const CpuEngine>(contestant.engine);
  if (!cpu || contestant.layer_times.empty()) return;
  const auto layers = cpu->layers();
  fmt::print("\n{}, microseconds a run:\n", contestant.name);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    fmt::print(
        "{:9.1f}  {:40} {}\n",
        static_cast<double>(contestant.layer_times[i].count()) / 1e3 / static_cast<double>(rounds),
        layers[i].layer, layers[i].implementation);
  }
}

Result<> measure(const std::string& model, std::int32_t threads, std::size_t rounds, bool profile) {
  FOVEA_ASSIGN(NetworkDefinition network, parse_onnx(model));
  FOVEA_ASSIGN(network, lower(std::move(network)));
  NetworkDefinition int8 = network;
  FOVEA_ASSIGN(const auto table,
               calibrate(network, kLeastCalibrationPictures, paint, {.threads = threads}));
  FOVEA_TRY(quantize(int8, table));
  FOVEA_TRY(infer_shapes(int8, 1));
  FOVEA_TRY(infer_shapes(network, 1));
  NetworkDefinition half = network;
  half.quantization.values.resize(half.values.size());
  half.quantization.layers.resize(half.layers.size(), {Precision::kFp16, {}});

  std::vector<Contestant> contestants(4);
  contestants[0].name = "oneDNN f32";
  FOVEA_TRY(contestants[0].prepare(kOnednnProvider, network, threads));
  contestants[1].name = "own f32";
  FOVEA_TRY(contestants[1].prepare(kCpuProvider, network, threads));
  contestants[2].name = "own f16";
  FOVEA_TRY(contestants[2].prepare(kCpuProvider, half, threads));
  contestants[3].name = "own int8";
  FOVEA_TRY(contestants[3].prepare(kCpuProvider, int8, threads));
  constexpr std::size_t kWarmUp = 3;
  for (std::size_t round = 0; round < rounds + kWarmUp; ++round) {
    for (Contestant& contestant : contestants) {
      if (profile && round == kWarmUp) {
        const auto cpu = std::dynamic_pointer_cast<const CpuEngine>(contestant.engine);
        contestant.layer_times.resize(cpu ? cpu->layers().size() : 0);
        if (!contestant.context->record_layer_times(contestant.layer_times)) {
          contestant.layer_times.clear();
        }
      }
      FOVEA_TRY(contestant.run(round >= kWarmUp));
    }
  }
  fmt::print("threads {}\n{:12} {:>10} {:>10} {:>10} {:>12}\n", threads, "", "median ms", "min ms",
             "load ms", "x oneDNN f32");
  for (const Contestant& contestant : contestants) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < rounds; ++i) {
      ratios.push_back(contestants[0].times[i] / contestant.times[i]);
    }
    fmt::print("{:12} {:10.2f} {:10.2f} {:10.1f} {:12.2f}\n", contestant.name,
               median(contestant.times),
               *std::min_element(contestant.times.begin(), contestant.times.end()),
               contestant.load_ms, median(ratios));
  }
  for (const Contestant& contestant : contestants) print_layers(contestant, rounds);
  return {};
}

}  // namespace
}  // namespace fovea::engine

int main(int argc, char** argv) {
  // OpenMP reads its environment before main(), so that this needs a second start.
  if (std::getenv("GOMP_SPINCOUNT") == nullptr && std::getenv("OMP_WAIT_POLICY") == nullptr) {
    ::setenv("GOMP_SPINCOUNT", fovea::engine::kSpinCount, 1);
    ::execv("/proc/self/exe", argv);
  }
  CLI::App app("Times whole networks on the CPU, own kernels against oneDNN");
  std::string model = "config/models/yolov8n_demo_dynamic.onnx";
  std::vector<std::int32_t> threads = {1, 2};
  std::size_t rounds = 40;
  bool profile = false;
  app.add_option("model", model, "ONNX file")->capture_default_str();
  app.add_option("--threads", threads, "Thread counts to measure")->delimiter(',');
  app.add_option("--rounds", rounds, "Runs of each, turn by turn")->check(CLI::Range(1, 1000000));
  app.add_flag("--profile", profile, "Time every step of our own kernels as well");
  CLI11_PARSE(app, argc, argv);
  for (const std::int32_t count : threads) {
    if (auto done = fovea::engine::measure(model, count, rounds, profile); !done) {
      fmt::print(stderr, "{}\n", done.error().message);
      return 1;
    }
  }
}
