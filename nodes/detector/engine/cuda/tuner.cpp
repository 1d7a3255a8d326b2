#include "nodes/detector/engine/cuda/tuner.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <cuda_fp16.h>
#include <fmt/format.h>

#include "nodes/detector/engine/cuda/compiler.hpp"
#include "nodes/detector/engine/cuda/context.hpp"
#include "nodes/detector/engine/cuda/convolution.hpp"
#include "nodes/detector/engine/quantization/quantization.hpp"

namespace fovea::engine::cuda {

namespace {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kFinalists = 4;     // that are tried in the whole graph
constexpr double kGain = 0.997;           // of the whole graph's time, to be taken
constexpr std::size_t kRepetitions = 15;  // of the whole graph
constexpr double kShareAlone = 0.6;       // of the progress

ConvolutionArguments arguments_of(const Choice& choice) {
  ConvolutionArguments arguments{};
  std::memcpy(&arguments, choice.arguments.data(), sizeof arguments);
  return arguments;
}

// What a time depends on: everything but where tensors lie and how the kernel cuts them.
std::string signature(const Choice& choice, std::int64_t images) {
  ConvolutionArguments arguments = arguments_of(choice);
  arguments.tiles_x = 0;
  std::string key(sizeof arguments, '\0');
  std::memcpy(key.data(), &arguments, sizeof arguments);
  return key + std::to_string(images);
}

// Sums of other orders round otherwise: by some units of f16 of the largest number around.
bool agree(const std::vector<std::byte>& a, const std::vector<std::byte>& b, Scalar scalar) {
  constexpr float kRelative = 4e-3F;
  if (a.size() != b.size()) return false;
  const auto number = [&](const std::vector<std::byte>& bytes, std::size_t i) {
    if (scalar == Scalar::kFloat) {
      float value = 0;
      std::memcpy(&value, bytes.data() + i * 4, 4);
      return value;
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * 2, 2);
    return __half2float(__ushort_as_half(bits));
  };
  const std::size_t count = a.size() / (scalar == Scalar::kFloat ? 4 : 2);
  float largest = 1e-3F;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(number(a, i)));
  for (std::size_t i = 0; i < count; ++i) {
    if (!(std::abs(number(a, i) - number(b, i)) <= kRelative * largest)) return false;
  }
  return true;
}

struct Timed {
  const Variant* variant = nullptr;
  nanoseconds time{0};
};

class Tuner {
 public:
  Tuner(const Gpu& gpu, const TuningConfig& config, const Progress& progress, TuningReport& report)
      : gpu_(gpu), config_(config), progress_(progress), report_(report) {}

  Result<LayerTactics> run(NetworkDefinition network, const EngineInfo& info) {
    unpack_weights(network);
    FOVEA_ASSIGN(Program program,
                 compile(std::move(network), {.images = info.max_batch, .limits = gpu_.limits()}));
    FOVEA_ASSIGN(program_, load_program(gpu_, std::move(program)));
    FOVEA_ASSIGN(context_, GpuContext::create(program_, info));
    const auto& launches = program_.program.launches;
    for (std::size_t i = 0; i < launches.size(); ++i) {
      if (launches[i].choices[0].kernel.starts_with("convolution_")) convolutions_.push_back(i);
    }
    report_.layers = convolutions_.size();
    FOVEA_ASSIGN(const nanoseconds untuned, context_->time_batches(1, kRepetitions));
    FOVEA_TRY(time_alone());
    if (config_.level >= 2) FOVEA_TRY(time_together());
    FOVEA_ASSIGN(const nanoseconds tuned, context_->time_batches(1, kRepetitions));
    report_.untuned_ms = static_cast<double>(untuned.count()) / 1e6;
    report_.tuned_ms = static_cast<double>(tuned.count()) / 1e6;
    return tactics();
  }

 private:
  Result<> go_on() const {
    if (config_.keep_going && !config_.keep_going())
      return fail(ErrorCode::kUnavailable, "stopped");
    return {};
  }
  bool out_of_time() const {
    return std::chrono::duration<double>(Clock::now() - started_).count() > config_.max_seconds;
  }
  std::vector<const Variant*> fitting(std::size_t launch, std::size_t choice) const {
    const Choice& now = program_.program.launches[launch].choices[choice];
    return fitting_variants(arguments_of(now), now.images, gpu_.limits());
  }

  Result<> take(std::size_t launch, std::size_t choice, const Variant& variant) {
    Choice& now = program_.program.launches[launch].choices[choice];
    now = make_choice(variant, arguments_of(now), now.images);
    FOVEA_ASSIGN(program_.functions[launch][choice], gpu_.kernel(now.kernel, now.shared_bytes));
    context_->refresh(launch);
    return {};
  }

  Result<> time_alone() {
    for (std::size_t k = 0; k < convolutions_.size(); ++k) {
      const std::size_t launch = convolutions_[k];
      progress_("tune layers",
                kShareAlone * static_cast<double>(k) / static_cast<double>(convolutions_.size()));
      for (std::size_t c = 0; c < program_.program.launches[launch].choices.size(); ++c) {
        FOVEA_TRY(go_on());
        const Choice before = program_.program.launches[launch].choices[c];
        const auto [known, is_new] = times_.try_emplace(signature(before, before.images));
        if (is_new && !out_of_time()) {
          FOVEA_ASSIGN(known->second, time_variants(launch, before));
        }
        if (!known->second.empty()) FOVEA_TRY(take(launch, c, *known->second.front().variant));
      }
    }
    return {};
  }

  // Fastest first. Empty if none computes what the first guess does.
  Result<std::vector<Timed>> time_variants(std::size_t launch, const Choice& before) {
    const ConvolutionArguments arguments = arguments_of(before);
    std::vector<const Variant*> candidates =
        fitting_variants(arguments, before.images, gpu_.limits());
    if (config_.level < 3 && candidates.size() > kGuesses) candidates.resize(kGuesses);
    std::vector<std::byte> expected;
    std::vector<Timed> times;
    for (const Variant* variant : candidates) {
      const Choice choice = make_choice(*variant, arguments, before.images);
      FOVEA_ASSIGN(const CUfunction function, gpu_.kernel(choice.kernel, choice.shared_bytes));
      FOVEA_ASSIGN(std::vector<std::byte> result,
                   context_->try_convolution(launch, choice, function));
      if (expected.empty()) expected = result;
      if (!agree(expected, result, arguments.y_scalar)) {
        report_.rejected.push_back(fmt::format("{}: {}: it computes other numbers than {}",
                                               program_.program.launches[launch].layer,
                                               variant->name, candidates.front()->name));
        continue;
      }
      FOVEA_ASSIGN(
          const nanoseconds time,
          context_->time_choice(launch, choice, function, static_cast<std::size_t>(before.images)));
      times.push_back({variant, time});
    }
    std::stable_sort(times.begin(), times.end(),
                     [](const Timed& a, const Timed& b) { return a.time < b.time; });
    return times;
  }

  // Neighbours share caches and multiprocessors, so the fastest few take turns in the whole graph.
  Result<> time_together() {
    for (std::size_t k = 0; k < convolutions_.size(); ++k) {
      const std::size_t launch = convolutions_[k];
      progress_("tune network", kShareAlone + (1 - kShareAlone) * static_cast<double>(k) /
                                                  static_cast<double>(convolutions_.size()));
      for (std::size_t c = 0; c < program_.program.launches[launch].choices.size(); ++c) {
        FOVEA_TRY(go_on());
        if (out_of_time()) return {};
        FOVEA_TRY(try_finalists(launch, c));
      }
    }
    return {};
  }

  Result<> try_finalists(std::size_t launch, std::size_t c) {
    const Choice before = program_.program.launches[launch].choices[c];
    const auto images = static_cast<std::size_t>(before.images);
    const auto& times = times_[signature(before, before.images)];
    FOVEA_ASSIGN(nanoseconds best, context_->time_batches(images, kRepetitions));
    const Variant* taken = nullptr;
    for (std::size_t i = 1; i < std::min(kFinalists, times.size()); ++i) {
      FOVEA_TRY(take(launch, c, *times[i].variant));
      FOVEA_ASSIGN(const nanoseconds time, context_->time_batches(images, kRepetitions));
      if (static_cast<double>(time.count()) >= kGain * static_cast<double>(best.count())) continue;
      best = time;
      taken = times[i].variant;
    }
    if (times.size() < 2) return {};
    return take(launch, c, taken == nullptr ? *times.front().variant : *taken);
  }

  LayerTactics tactics() {
    LayerTactics result;
    for (const std::size_t launch : convolutions_) {
      const Launch& tuned = program_.program.launches[launch];
      std::string& words = result[tuned.layer];
      bool changed = false;
      for (std::size_t c = 0; c < tuned.choices.size(); ++c) {
        const Choice& choice = tuned.choices[c];
        words += fmt::format("{}{}={}", words.empty() ? "" : " ", choice.images, choice.kernel);
        changed = changed || choice.kernel != fitting(launch, c).front()->name;
      }
      report_.changed += changed ? 1 : 0;
    }
    return result;
  }

  static constexpr std::size_t kGuesses = 12;

  const Gpu& gpu_;
  const TuningConfig& config_;
  const Progress& progress_;
  TuningReport& report_;
  const Clock::time_point started_ = Clock::now();
  LoadedProgram program_;
  std::unique_ptr<GpuContext> context_;  // of program_
  std::vector<std::size_t> convolutions_;
  std::map<std::string, std::vector<Timed>> times_;  // by signature
};

}  // namespace

Result<LayerTactics> tune(const Gpu& gpu, const NetworkDefinition& lowered, const EngineInfo& info,
                          const TuningConfig& config, const Progress& progress,
                          TuningReport& report) {
  return Tuner(gpu, config, progress, report).run(lowered, info);
}

}  // namespace fovea::engine::cuda
