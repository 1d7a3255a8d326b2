// YOLO networks on the CPU: our kernels in INT8, FP16 and f32 against oneDNN, OpenCV's DNN module,
// ONNX Runtime and OpenVINO. Every engine is a process of its own; they take turns, the others
// stopped, so that a busy machine disturbs all alike. Compare the ratios, which are of the same
// rounds, rather than the milliseconds. With --isa all of an instruction set's turn are limited to it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <tuple>

#include <CLI/CLI.hpp>
#include <fmt/chrono.h>
#include <fmt/core.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/engine/contestant.hpp"
#include "bench/engine/contestant_process.hpp"
#include "bench/engine/report.hpp"
#include "bench/engine/rival_model.hpp"
#include "launch/bench/scratch_folder.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/instruction_set.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/cpu/kernels/isa.hpp"
#include "nodes/detector/engine/cpu/kernels/tile.hpp"
#include "nodes/detector/engine/onnxruntime/library.hpp"
#include "nodes/detector/engine/quantization/calibrator.hpp"

namespace fovea::bench {
namespace {

namespace fs = std::filesystem;

struct Options {
  fs::path model = "config/models/yolov8n_demo_dynamic.onnx";
  std::vector<fs::path> models;
  std::vector<std::string> instruction_sets;
  fs::path calibration;
  fs::path keep;  // plans, copies of the model and the report
  std::vector<int> threads = {1, 2};
  std::int32_t tuning_level = engine::kDefaultTuningLevel;
  bool limited = false;  // to less than what the machine has
  std::vector<int> cpus;
  std::size_t rounds = 15;
  std::size_t runs = 5;
  bool busy = false;
  bool json = false;
};

constexpr const char* kReportFile = "report.json";
constexpr const char* kOnednn = "oneDNN f32";
constexpr const char* kOnnxRuntime = "ONNX Runtime f32";
constexpr const char* kOpenvinoF32 = "OpenVINO f32";
constexpr const char* kOpenvinoBf16 = "OpenVINO bf16";
constexpr const char* kOpenvinoInt8 = "OpenVINO int8";
constexpr const char* kOwnF32 = "own f32";
constexpr const char* kOwnInt8 = "own int8";

constexpr const char* kWholeScope = "f32 planes to output0";
constexpr const char* kCutScope = "f32 planes to raw maps";

// What takes part, and how far its outputs' magnitude may be from own f32's; 0 = not comparable.
struct Entry {
  std::string name;
  std::string scope;
  std::string program;
  fs::path model;
  double tolerance = 0;
  std::string precision = "f32";
};

struct Line {
  std::size_t height = 0;  // of the picture
  std::size_t width = 0;
  std::vector<Entry> entries;
  std::vector<std::string> notices;
};

Result<std::shared_ptr<const engine::CalibrationTable>> calibration_table(
    const Options& options, const engine::Plan& plan) {
  fs::path file = options.calibration;
  if (file.empty()) file = fs::path(options.model).replace_extension(".calibration.json");
  if (std::ifstream in(file); in) {
    std::ostringstream text;
    text << in.rdbuf();
    FOVEA_ASSIGN(auto table, engine::calibration_from_json(text.str()));
    return std::make_shared<const engine::CalibrationTable>(std::move(table));
  }
  if (!options.calibration.empty()) {
    return fail(ErrorCode::kNotFound, options.calibration.string() + ": no such file");
  }
  // Times do not depend on the ranges.
  const auto source = [&](std::size_t, std::span<std::byte> to) -> Result<> {
    const auto& dims = plan.network.value(plan.network.inputs[0]).dims;
    const auto pixels =
        picture(static_cast<std::size_t>(dims[1]), static_cast<std::size_t>(dims[2]));
    std::memcpy(to.data(), pixels.data(), to.size());
    return {};
  };
  FOVEA_ASSIGN(auto table, engine::calibrate(plan.network, engine::kLeastCalibrationPictures,
                                             source, {.model_hash = plan.model_hash}));
  return std::make_shared<const engine::CalibrationTable>(std::move(table));
}

fs::path sibling(const std::string& program) {
  return fs::canonical("/proc/self/exe").parent_path() / program;
}

// OpenVINO with the whole model, as its users run it; with the head cut off (none: no `cut`); and
// what openvino_int8.py made beside the model.
void add_openvino(const Options& options, const fs::path& whole, const fs::path& cut, Line& line) {
  const std::string program = "fovea-bench-engine-openvino";
  if (std::system(("'" + sibling(program).string() + "' --available").c_str()) != 0) {
    line.notices.push_back("OpenVINO: the reason is above");
    return;
  }
  line.entries.push_back({kOpenvinoF32, kWholeScope, program, whole, 0});
  if (!cut.empty()) {
    line.entries.push_back({"OpenVINO f32, head cut", kCutScope, program, cut, 0.001});
  }
  // Below AMX OpenVINO runs bf16 as f32.
  if (requested_instruction_set().value_or(kHighestInstructionSet) >= InstructionSet::kAmx) {
    line.entries.push_back({kOpenvinoBf16, kWholeScope, program, whole, 0, "bf16"});
  }
  const fs::path int8 = fs::path(options.model).replace_extension(".int8.xml");
  if (fs::exists(int8)) {
    line.entries.push_back({kOpenvinoInt8, kWholeScope, program, int8, 0});
  } else {
    line.notices.push_back(
        fmt::format("OpenVINO int8: no {}; openvino_int8.py makes it", int8.string()));
  }
}

// Writes every engine's model into `folder`; ours are tuned as the product's tools do it.
Result<Line> line_up(const Options& options, const fs::path& folder, int threads) {
  Line line;
  const auto save = [&](engine::Plan plan, const std::string& name) -> Result<fs::path> {
    const fs::path file = folder / (name + ".plan");
    plan.threads = threads;
    if (plan.provider == "cpu" && options.tuning_level > 0) {
      print_error("tuning own {} for {} threads", name, threads);
      FOVEA_TRY(engine::tune_plan(plan, {.level = options.tuning_level}));
    }
    FOVEA_TRY(engine::save_plan(plan, file.string()));
    return file;
  };
  constexpr const char* kOwn = "fovea-bench-engine-own";
  FOVEA_ASSIGN(engine::Plan f32, engine::build_plan(options.model, {}));
  const bool cut_off = f32.network.head.spec.bins() > 0;  // else all engines run the whole model
  const std::string kOwnScope = cut_off ? "u8 picture to raw maps" : "u8 picture to output0";
  FOVEA_ASSIGN(fs::path file, save(f32, "f32"));
  line.entries.push_back({kOwnF32, kOwnScope, kOwn, file, 0.001});

  const engine::kernels::CpuFeatures& features = engine::kernels::cpu_features();
  for (const auto& [precision, name, has, needs] :
       {std::tuple(engine::Precision::kFp16, "f16", features.avx512_fp16, "AVX512-FP16"),
        std::tuple(engine::Precision::kBf16, "bf16", features.amx_bf16, "AMX-BF16")}) {
    const std::string own = fmt::format("own {}", name);
    if (!has) {
      line.notices.push_back(fmt::format("{}: this CPU, or FOVEA_ISA, has no {}", own, needs));
      continue;
    }
    engine::Plan half = f32;
    half.precision = precision;
    FOVEA_TRY(engine::use_half_precision(half.network, precision));
    FOVEA_ASSIGN(file, save(half, name));
    line.entries.push_back({own, kOwnScope, kOwn, file, 0.02});
  }

  if (engine::kernels::best_tiles(engine::DataType::kUint8, engine::kernels::cpu_features()) !=
      nullptr) {
    engine::BuilderConfig config;
    config.precision = engine::Precision::kInt8;
    FOVEA_ASSIGN(config.calibration, calibration_table(options, f32));
    FOVEA_ASSIGN(const engine::Plan int8, engine::build_plan(options.model, config));
    FOVEA_ASSIGN(file, save(int8, "int8"));
    line.entries.push_back({kOwnInt8, kOwnScope, kOwn, file, cut_off ? 0.2 : 0});
  } else {
    line.notices.push_back("own int8: this CPU, or FOVEA_ISA, has neither AVX2 nor NEON");
  }

  engine::Plan onednn = f32;
  onednn.provider = "onednn";
  FOVEA_ASSIGN(file, save(onednn, "onednn"));
  line.entries.push_back({kOnednn, kOwnScope, kOwn, file, 0.001});

  const auto& dims = f32.network.value(f32.network.inputs[0]).dims;
  line.height = static_cast<std::size_t>(dims[1]);
  line.width = static_cast<std::size_t>(dims[2]);
  RivalModel whole{{1, 3, dims[1], dims[2]}, {}, folder / "whole.onnx"};
  RivalModel cut{whole.input, {}, folder / "cut.onnx"};
  for (const engine::ValueId output : f32.network.outputs) {
    for (const engine::Layer& layer : f32.network.layers) {
      if (layer.outputs[0] == output) cut.ends.push_back(layer.name);
    }
  }
  FOVEA_TRY(write_rival_model(options.model, whole));
  if (cut_off) FOVEA_TRY(write_rival_model(options.model, cut));
  add_openvino(options, whole.file, cut_off ? cut.file : fs::path(), line);
  if (options.limited) {
    line.notices.push_back("OpenCV DNN, ONNX Runtime: cannot be limited to an instruction set");
    return line;
  }
  if (cut_off) {
    line.entries.push_back(
        {"OpenCV DNN f32, head cut", kCutScope, "fovea-bench-engine-opencv", cut.file, 0.001});
  }
  if (const auto runtime = engine::onnxruntime::find_library(); runtime) {
    constexpr const char* kRuntime = "fovea-bench-engine-onnxruntime";
    line.entries.push_back({kOnnxRuntime, kWholeScope, kRuntime, whole.file, 0});
    if (cut_off) {
      line.entries.push_back({"ONNX Runtime f32, head cut", kCutScope, kRuntime, cut.file, 0.001});
    }
  } else {
    line.notices.push_back(fmt::format("ONNX Runtime f32: {}", runtime.error().message));
  }
  return line;
}

struct Player {
  Entry entry;
  std::unique_ptr<ContestantProcess> process;
  double first_ms = 0;
  std::vector<double> quiet;  // medians by round
  std::vector<double> busy;
};

double median(std::vector<double> values) { return spread_of(std::move(values)).median; }

Result<Player> start(const Entry& entry, const Line& line, int threads) {
  constexpr int kStarts = 5;  // the first of which reads files and libraries from disk
  Player player{entry, nullptr, 0, {}, {}};
  const fs::path program = sibling(entry.program);
  std::vector<double> first_ms;
  for (int i = 0; i < kStarts; ++i) {
    player.process.reset();
    auto process = ContestantProcess::start(
        program, {entry.model.string(), threads, line.height, line.width, entry.precision});
    if (!process) return fail(process.error().with_context(entry.name));
    player.process = std::move(*process);
    first_ms.push_back(player.process->first_ms());
  }
  player.first_ms = median(first_ms);
  return player;
}

// Engines that compute something else would win easily.
Result<> compare_magnitudes(const std::vector<Player>& players) {
  const double expected = players.front().process->magnitude();  // own f32
  for (const Player& player : players) {
    const double found = player.process->magnitude();
    if (player.entry.tolerance > 0 &&
        !(std::abs(found - expected) <= player.entry.tolerance * expected)) {
      return fail(ErrorCode::kInternal,
                  fmt::format("{}: the raw maps' mean magnitude is {}, own f32's is {}",
                              player.entry.name, found, expected));
    }
  }
  return {};
}

std::vector<double> divide(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return ratios;
}

// The same precision's; for those that OpenVINO lacks, f32.
std::string_view openvino_rival(std::string_view name) {
  if (name == kOwnInt8) return kOpenvinoInt8;
  return name == "own bf16" ? kOpenvinoBf16 : kOpenvinoF32;
}

Figures figures_of(const Player& player, const std::vector<Player>& players, int threads) {
  Figures figures;
  figures.name = player.entry.name;
  figures.scope = player.entry.scope;
  figures.threads = threads;
  figures.ms = spread_of(player.quiet);
  for (const Player& other : players) {
    const auto over = [&] { return spread_of(divide(other.quiet, player.quiet)); };
    if (other.entry.name == kOnednn) figures.over_onednn = over();
    if (other.entry.name == kOnnxRuntime) figures.over_onnxruntime = over();
    if (other.entry.name == openvino_rival(player.entry.name)) figures.over_openvino = over();
  }
  figures.first_ms = player.first_ms;
  figures.peak_rss_mb = player.process->peak_rss_mb();
  if (!player.busy.empty()) {
    figures.busy_ms = spread_of(player.busy);
    figures.slow_down = spread_of(divide(player.busy, player.quiet));
  }
  return figures;
}

Result<> measure(const Options& options, const Line& line, int threads, Report& report) {
  std::vector<Player> players;
  for (const Entry& entry : line.entries) {
    FOVEA_ASSIGN(Player player, start(entry, line, threads));
    players.push_back(std::move(player));
  }
  FOVEA_TRY(compare_magnitudes(players));
  // With a CPU to spare there is nothing to compete for.
  const bool busy = options.busy && static_cast<std::size_t>(threads) >= report.cpus;
  const BusyProcess competitor;
  for (std::size_t round = 0; round < options.rounds; ++round) {
    for (Player& player : players) {
      FOVEA_ASSIGN(std::vector<double> times, player.process->turn(options.runs));
      player.quiet.push_back(median(std::move(times)));
      if (!busy) continue;
      competitor.set_running(true);
      auto disturbed = player.process->turn(options.runs);
      competitor.set_running(false);
      if (!disturbed) return fail(disturbed.error());
      player.busy.push_back(median(std::move(*disturbed)));
    }
  }
  for (const Player& player : players) {
    report.figures.push_back(figures_of(player, players, threads));
  }
  return {};
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

Result<> pin(const std::vector<int>& cpus) {
  if (cpus.empty()) return {};
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) {
    return fail_errno(ErrorCode::kInvalidArgument, "--cpus");
  }
  return {};
}

Result<> run(const Options& options) {
  FOVEA_TRY(pin(options.cpus));
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof set, &set);
  Report report;
  report.date = fmt::format(
      "{:%F %H:%M} UTC",
      fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
  report.cpu = cpu_name();
  report.cpus = static_cast<std::size_t>(CPU_COUNT(&set));
  report.model = options.model.filename().string();
  report.isa = engine::kernels::to_string(engine::kernels::cpu_features());
  report.rounds = options.rounds;
  report.runs = options.runs;
  for (const int threads : options.threads) {
    const fs::path models = options.keep / fmt::format("{}_threads", threads);
    fs::create_directories(models);
    FOVEA_ASSIGN(const Line line, line_up(options, models, threads));
    report.notices = line.notices;
    FOVEA_TRY(measure(options, line, threads, report));
  }
  print_out("{}", options.json ? to_json(report) : to_table(report));
  return write_file((options.keep / kReportFile).string(), to_json(report));
}

// As OpenVINO's and oneDNN's ONEDNN_MAX_CPU_ISA calls it.
const char* onednn_name(InstructionSet set) {
  switch (set) {
    case InstructionSet::kScalar:
    case InstructionSet::kSse4:
      return "SSE41";
    case InstructionSet::kAvx2:
      return "AVX2";
    case InstructionSet::kAvxVnni:
      return "AVX2_VNNI";
    case InstructionSet::kAvx512:
      return "AVX512_CORE";
    case InstructionSet::kAvx512Vnni:
      return "AVX512_CORE_VNNI";
    case InstructionSet::kAvx512Fp16:
      return "AVX512_CORE_FP16";
    case InstructionSet::kAmx:
      return "AVX512_CORE_AMX";
    case InstructionSet::kNeon:  // theirs have no limit on ARM
    case InstructionSet::kNeonDotprod:
    case InstructionSet::kI8mm:
      break;
  }
  return "ALL";
}

// Each model with each instruction set in a process of its own, which reads the limit once.
Result<> run_all(const Options& options) {
  std::vector<std::string> reports;
  const ScratchFolder scratch;
  if (scratch.path().empty()) return fail_errno(ErrorCode::kInternal, "a temporary folder");
  for (const fs::path& model : options.models) {
    for (const std::string& isa : options.instruction_sets) {
      Options one = options;
      one.model = model;
      one.keep = (options.keep.empty() ? scratch.path() : options.keep) / model.stem() / isa;
      fs::create_directories(one.keep);
      const pid_t child = ::fork();
      if (child == 0) {
        if (const auto set = parse_instruction_set(isa); set) {
          ::setenv("FOVEA_ISA", isa.c_str(), 1);
          ::setenv("ONEDNN_MAX_CPU_ISA", onednn_name(*set), 1);
          one.limited = true;
        }
        const auto done = run(one);
        if (!done) print_error("{}", done.error().message);
        ::_exit(done ? 0 : 1);
      }
      int status = 0;
      if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) {
        return fail(ErrorCode::kInternal, fmt::format("{}{}{} ended early", model.string(),
                                                      isa.empty() ? "" : " with ", isa));
      }
      FOVEA_ASSIGN(reports.emplace_back(), read_text_file(one.keep / kReportFile));
    }
  }
  if (!options.json) print_out("\n{}", to_summary(reports));
  return {};
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Times YOLO networks on the CPU: our kernels against oneDNN, OpenCV DNN, ONNX Runtime "
      "(FOVEA_ORT_ROOT) and OpenVINO (FOVEA_OPENVINO_ROOT)");
  fovea::bench::Options options;
  app.add_option("model,--models", options.models,
                 "ONNX files, with ',' between them (default: " + options.model.string() + ")")
      ->delimiter(',');
  app.add_option("--isa", options.instruction_sets,
                 "Instruction sets to limit every engine to, one after the other: " +
                     fovea::instruction_set_names())
      ->delimiter(',')
      ->check([](const std::string& name) {
        return fovea::parse_instruction_set(name)
                   ? std::string()
                   : "no instruction set is named " + name + "; it must be " +
                         fovea::instruction_set_names();
      });
  app.add_option("--calibration", options.calibration,
                 "Calibration table of it (default: MODEL.calibration.json, else noise)");
  app.add_option("--threads", options.threads, "Thread counts to measure")
      ->delimiter(',')
      ->check(CLI::Range(1, 256));
  app.add_option("--builder-optimization-level", options.tuning_level,
                 "How far our own plans are tuned before; 0: first guesses")
      ->check(CLI::Range(0, fovea::engine::kMaxTuningLevel))
      ->capture_default_str();
  app.add_option("--cpus", options.cpus, "CPUs to use (default: all that the bench may)")
      ->delimiter(',')
      ->check(CLI::Range(0, CPU_SETSIZE - 1));
  app.add_option("--rounds", options.rounds, "Turns of each engine")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--runs", options.runs, "Inferences in a turn, after one that wakes the engine up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_flag("--busy", options.busy,
               "Also with one busy process on the CPUs, where the threads fill them");
  app.add_option("--keep", options.keep, "Keep plans, models and reports in this folder");
  app.add_flag("--json", options.json, "JSON instead of a table");
  CLI11_PARSE(app, argc, argv);
  if (options.models.empty()) options.models = {options.model};
  if (options.instruction_sets.empty()) options.instruction_sets = {""};
  if (auto done = fovea::bench::run_all(options); !done) {
    fovea::print_error("{}", done.error().message);
    return 1;
  }
}
