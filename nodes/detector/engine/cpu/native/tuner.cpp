// Compiles the network three times: to see its convolutions, to time each distinct
// one, to make the kernels that compete inside the network. Weights live only while it compiles.
#include "nodes/detector/engine/cpu/native/tuner.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <span>
#include <utility>

#include <fmt/core.h>

#include "nodes/detector/engine/cpu/native/provider.hpp"
#include "nodes/detector/engine/cpu/program/context.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"
#include "nodes/detector/engine/shapes/shape_inference.hpp"

namespace fovea::engine::cpu::native {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kGuesses = 12;      // of the kernels' own order, below level 3
constexpr std::size_t kFinalists = 4;     // of one layer inside the network
constexpr double kFinalistWithin = 1.15;  // of the fastest alone
constexpr int kSamples = 12;              // of a finalist inside the network
constexpr int kWarmUps = 2;
constexpr int kDuels = 15;                     // whole networks against each other
constexpr double kShareOfTimers = 0.6;         // of the progress
constexpr std::chrono::seconds kSaveEvery{1};  // what a build that dies loses at most

struct Site {
  std::size_t step = 0;
  std::string layer;
  std::string signature;
  std::vector<std::string> tactics;  // first guess first
  std::size_t timed = 0;             // how many of them are
  double macs = 0;
};

double quantile(std::vector<double> values, double q) {
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

double macs_of(const kernels::ConvolutionSpec& spec) {
  return static_cast<double>(spec.out_height * spec.out_width * spec.out_channels) *
         static_cast<double>(spec.in_channels / spec.groups * spec.kernel_height *
                             spec.kernel_width);
}

// One picture of noise.
Bindings noisy_bindings(const EngineInfo& info) {
  Bindings bindings(info);
  std::mt19937 random(1);
  for (std::byte& value : bindings.input()) value = static_cast<std::byte>(random() >> 24);
  return bindings;
}

void poison(const Bindings& bindings, const EngineInfo& info, int with) {
  for (std::size_t i = 0; i < info.outputs.size(); ++i) {
    std::memset(bindings.output(i).data(), with, bindings.output(i).size());
  }
}

// Of all outputs, which are f32.
std::vector<float> values_of(const Bindings& bindings, const EngineInfo& info) {
  std::vector<float> all;
  for (std::size_t i = 0; i < info.outputs.size(); ++i) {
    const std::span<std::byte> output = bindings.output(i);
    const auto* first = reinterpret_cast<const float*>(output.data());
    all.insert(all.end(), first, first + output.size() / sizeof(float));
  }
  return all;
}

// `rounds`: with f16 or int8 layers a sum in another order may end on the next code, and all that
// follows from it differs; every kernel was checked by itself before.
bool agree(const std::vector<float>& a, const std::vector<float>& b, bool rounds) {
  float largest = 0;
  for (const float value : a) largest = std::max(largest, std::abs(value));
  const float tolerance = (rounds ? 0.1F : 1e-3F) * largest + 1e-6F;
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](float x, float y) {
    return std::abs(x - y) <= tolerance;  // false for NaN
  });
}

class Tuner {
 public:
  Tuner(const NetworkDefinition& network, const EngineInfo& info, const TuningConfig& config,
        const Progress& progress, TuningReport& report, const KernelFactory& make)
      : network_(network),
        info_(info),
        config_(config),
        progress_(progress),
        report_(report),
        make_(make),
        environment_(timing_environment(kernels::to_string(features_), info.threads)) {}

  // Whatever ends it, what was measured is kept.
  Result<LayerTactics> run() {
    auto tactics = choose();
    save();
    if (!save_error_.empty()) {
      if (!report_.warning.empty()) report_.warning += "; ";
      report_.warning += "timing cache not written: " + save_error_;
    }
    return tactics;
  }

 private:
  using Choice = std::vector<std::size_t>;  // by site: index into its tactics

  Result<LayerTactics> choose() {
    auto program = look();
    if (!program) {
      if (program.error().code != ErrorCode::kUnsupported) return fail(program.error());
      report_.note = "nothing to tune: " + program.error().message;
      return LayerTactics();
    }
    report_.layers = sites_.size();
    read_cache();
    const std::string hash = network_hash();
    if (const auto known = known_network(hash)) return *known;
    FOVEA_TRY(time_alone());
    save();
    Choice choice = alone();
    if (config_.level > 1 && !late() && !sites_.empty()) {
      FOVEA_TRY(time_inside(*program, choice));
    }
    LayerTactics tactics = in_words(choice);
    if (late()) {
      report_.note = fmt::format(
          "stopped after {:.0f} s; what was not measured keeps its first "
          "guess",
          config_.max_seconds);
    } else {
      measured_.networks[hash] = {tactics, report_.untuned_ms, report_.tuned_ms};
    }
    return tactics;
  }

  // Before each measurement.
  Result<> check_going() const {
    if (!config_.keep_going || config_.keep_going()) return {};
    return fail(ErrorCode::kUnavailable, "tuning was stopped; what it measured is kept");
  }
  bool late() const {
    return std::chrono::duration<double>(Clock::now() - start_).count() > config_.max_seconds;
  }
  void progress(std::string_view stage, double done) const {
    if (progress_) progress_(stage, std::min(done, 1.0));
  }
  Result<Program> compile_with(std::function<Result<>(const ConvolutionSite&)> look) const {
    CompileOptions options;
    options.features = features_;
    options.on_convolution = std::move(look);
    return compile(network_, options);
  }

  Result<Program> look() {
    FOVEA_TRY(check_vectors(features_));
    return compile_with([this](const ConvolutionSite& site) -> Result<> {
      Site seen{site.step, site.layer, signature_of(site.spec), {}, 0, macs_of(site.spec)};
      seen.tactics = kernels::enumerate_tactics(site.spec, features_).names;
      if (seen.tactics.size() > 1) seen.tactics.pop_back();  // scalar is none beside others
      seen.timed =
          config_.level < 3 ? std::min(kGuesses, seen.tactics.size()) : seen.tactics.size();
      if (seen.tactics.size() > 1) sites_.push_back(std::move(seen));
      return {};
    });
  }

  void read_cache() {
    if (config_.cache.empty()) return;
    auto cache = read_timing_cache(config_.cache);
    if (cache) {
      known_ = std::move((*cache)[environment_]);
    } else if (cache.error().code != ErrorCode::kNotFound) {
      report_.warning = "timing cache ignored: " + cache.error().message;
    }
  }

  void save() {
    saved_ = Clock::now();
    if (config_.cache.empty() || (measured_.layers.empty() && measured_.networks.empty())) return;
    const auto written = merge_into_file({{environment_, measured_}}, config_.cache);
    save_error_ = written ? "" : written.error().message;
  }

  std::string network_hash() const {
    Sha256 hash;
    hash.add(fmt::format("level {}\n", config_.level));
    for (const Site& site : sites_) {
      hash.add(fmt::format("{} {} {}\n", site.step, site.layer, site.signature));
    }
    return hash.finish();
  }

  static bool has(const Site& site, const std::string& tactic) {
    return std::find(site.tactics.begin(), site.tactics.end(), tactic) != site.tactics.end();
  }

  // The timing cache's choice, if it names a tactic of every layer that has one.
  std::optional<LayerTactics> known_network(const std::string& hash) {
    const auto found = known_.networks.find(hash);
    if (found == known_.networks.end()) return std::nullopt;
    const TunedNetwork& network = found->second;
    for (const Site& site : sites_) {
      const auto tactic = network.tactics.find(site.layer);
      if (tactic == network.tactics.end() || !has(site, tactic->second)) {
        report_.warning = fmt::format(
            "timing cache {}: {} of {} cannot be had here; measured anew", config_.cache.string(),
            tactic == network.tactics.end() ? "no tactic" : tactic->second, site.layer);
        return std::nullopt;
      }
      report_.changed += tactic->second == site.tactics[0] ? 0 : 1;
    }
    if (network.tactics.size() != sites_.size()) return std::nullopt;
    report_.cached = true;
    report_.known = sites_.size();
    report_.untuned_ms = network.untuned_ms;
    report_.tuned_ms = network.tuned_ms;
    return network.tactics;
  }

  // From the timing cache, if it has times of as many as would be timed and all can be had here.
  const std::vector<TimedTactic>* known_layer(const Site& site) const {
    const auto found = known_.layers.find(site.signature);
    if (found == known_.layers.end() || found->second.size() < site.timed) {
      return nullptr;
    }
    const bool good =
        std::all_of(found->second.begin(), found->second.end(),
                    [&](const TimedTactic& timed) { return has(site, timed.tactic); });
    return good ? &found->second : nullptr;
  }

  Result<> time_alone() {
    double all = 0;
    double done = 0;
    for (const Site& site : sites_) {
      if (const auto* known = known_layer(site)) {
        ++report_.known;
        ranked_[site.signature] = *known;
        measured_.layers[site.signature] = *known;  // in use, so not among the oldest any more
      } else {
        all += site.macs;
      }
    }
    FOVEA_ASSIGN(const auto pool, cpu::ThreadPool::create({.threads = info_.threads}));
    std::size_t next = 0;
    const auto timed = compile_with([&](const ConvolutionSite& at) -> Result<> {
      if (next == sites_.size() || sites_[next].step != at.step) return {};
      const Site& site = sites_[next++];
      if (known_layer(site) != nullptr) return {};
      FOVEA_TRY(check_going());
      progress("tune layers", kShareOfTimers * done / all);
      done += site.macs;
      if (late() || ranked_.contains(site.signature)) return {};
      FOVEA_ASSIGN(TimedConvolution times, time_tactics(at.spec, {site.tactics.data(), site.timed},
                                                        features_, *pool, make_));
      for (const std::string& reason : times.rejected) {
        report_.rejected.push_back(fmt::format("{}: {}", site.layer, reason));
      }
      if (times.rejected.empty()) measured_.layers[site.signature] = times.ranked;
      ranked_[site.signature] = std::move(times.ranked);
      if (Clock::now() - saved_ > kSaveEvery) save();
      return {};
    });
    if (!timed) return fail(timed.error());
    return {};
  }

  std::size_t index_of(const Site& site, const std::string& tactic) const {
    return static_cast<std::size_t>(std::find(site.tactics.begin(), site.tactics.end(), tactic) -
                                    site.tactics.begin());
  }

  // The fastest of each layer by itself.
  Choice alone() {
    Choice choice(sites_.size(), 0);
    for (std::size_t i = 0; i < sites_.size(); ++i) {
      const auto& ranked = ranked_[sites_[i].signature];
      if (!ranked.empty()) choice[i] = index_of(sites_[i], ranked[0].tactic);
    }
    return choice;
  }
  // Each layer's first guess, but for those that computed wrongly.
  Choice untuned() {
    Choice choice = alone();
    for (std::size_t i = 0; i < sites_.size(); ++i) {
      if (is_right(sites_[i], 0)) choice[i] = 0;
    }
    return choice;
  }
  bool is_right(const Site& site, std::size_t tactic) {
    const auto& ranked = ranked_[site.signature];
    return std::any_of(ranked.begin(), ranked.end(), [&](const TimedTactic& timed) {
      return timed.tactic == site.tactics[tactic];
    });
  }

  // Indices of the tactics of a site that compete inside the network; the first guess is one.
  std::vector<std::size_t> finalists(const Site& site) {
    std::vector<std::size_t> chosen;
    const auto& ranked = ranked_[site.signature];
    for (const TimedTactic& timed : ranked) {
      if (chosen.size() == kFinalists || timed.us > kFinalistWithin * ranked[0].us) break;
      chosen.push_back(index_of(site, timed.tactic));
    }
    const bool missing = std::find(chosen.begin(), chosen.end(), 0U) == chosen.end();
    if (missing && is_right(site, 0)) chosen.push_back(0);
    return chosen;
  }

  struct Rival {
    std::size_t tactic = 0;
    std::unique_ptr<const kernels::Kernel> kernel;
    std::vector<double> us;  // of its step, inside the network
  };
  using Rivals = std::vector<std::vector<Rival>>;  // by site

  Result<Rivals> make_rivals() {
    Rivals rivals(sites_.size());
    std::size_t next = 0;
    const auto made = compile_with([&](const ConvolutionSite& at) -> Result<> {
      if (next == sites_.size() || sites_[next].step != at.step) return {};
      const Site& site = sites_[next];
      for (const std::size_t tactic : finalists(site)) {
        FOVEA_ASSIGN(auto kernel, make_(at.spec, site.tactics[tactic], features_));
        rivals[next].push_back({tactic, std::move(kernel), {}});
      }
      ++next;
      return {};
    });
    if (!made) return fail(made.error());
    return rivals;
  }

  // Every run has another mix of finalists, each as often as the others: so one run samples all
  // layers at once, and neighbours that disturb each other even out.
  Result<> sample(ProgramContext& context, const Bindings& bindings, Rivals& rivals) {
    std::vector<std::chrono::nanoseconds> times(steps_);
    std::vector<std::vector<std::size_t>> order(rivals.size());
    std::mt19937 random(1);
    std::size_t most = 1;
    for (std::size_t i = 0; i < rivals.size(); ++i) {
      order[i].resize(rivals[i].size());
      std::iota(order[i].begin(), order[i].end(), 0U);
      most = std::max(most, rivals[i].size());
    }
    context.record_layer_times(times);
    const std::size_t runs = kSamples * most;
    for (std::size_t run = 0; run < kWarmUps + runs && !late(); ++run) {
      FOVEA_TRY(check_going());
      progress("tune network", kShareOfTimers + 0.8 * (1 - kShareOfTimers) *
                                                    static_cast<double>(run) /
                                                    static_cast<double>(runs + kWarmUps));
      const auto competes = [&](std::size_t i) -> Rival& {
        return rivals[i][order[i][run % order[i].size()]];
      };
      for (std::size_t i = 0; i < rivals.size(); ++i) {
        if (rivals[i].empty()) continue;
        if (run % order[i].size() == 0) std::shuffle(order[i].begin(), order[i].end(), random);
        context.replace(sites_[i].step, *competes(i).kernel);
      }
      std::fill(times.begin(), times.end(), std::chrono::nanoseconds(0));
      FOVEA_TRY(context.execute(bindings.batch()));
      for (std::size_t i = 0; i < rivals.size() && run >= kWarmUps; ++i) {
        if (rivals[i].empty()) continue;
        competes(i).us.push_back(static_cast<double>(times[sites_[i].step].count()) * 1e-3);
      }
    }
    context.record_layer_times({});
    return {};
  }

  // The rival with the least lower quartile: a neighbour on the machine only ever adds time.
  Choice inside(const Rivals& rivals, const Choice& otherwise) const {
    Choice choice = otherwise;
    for (std::size_t i = 0; i < rivals.size(); ++i) {
      double least = 0;
      for (const Rival& rival : rivals[i]) {
        if (rival.us.empty()) continue;
        const double us = quantile(rival.us, 0.25);
        if (least != 0 && us >= least) continue;
        least = us;
        choice[i] = rival.tactic;
      }
    }
    return choice;
  }

  void take(ProgramContext& context, const Rivals& rivals, const Choice& choice) const {
    for (std::size_t i = 0; i < rivals.size(); ++i) {
      for (const Rival& rival : rivals[i]) {
        if (rival.tactic == choice[i]) context.replace(sites_[i].step, *rival.kernel);
      }
    }
  }

  // Inside the network each layer's best is found, then whole networks decide: the first guesses
  // stay unless another choice beats them in most of the alternating runs.
  Result<> time_inside(const Program& program, Choice& choice) {
    FOVEA_ASSIGN(Rivals rivals, make_rivals());
    steps_ = program.steps.size();
    FOVEA_ASSIGN(const auto context, ProgramContext::create(program, info_));
    const Bindings bindings = noisy_bindings(info_);
    FOVEA_TRY(sample(*context, bindings, rivals));

    const std::vector<Choice> choices = {untuned(), choice, inside(rivals, choice)};
    std::vector<std::vector<float>> outputs;
    for (std::size_t k = 0; k < choices.size(); ++k) {
      take(*context, rivals, choices[k]);
      poison(bindings, info_, k == 0 ? 0x2A : 0xFF);
      FOVEA_TRY(context->execute(bindings.batch()));
      outputs.push_back(values_of(bindings, info_));
    }
    std::vector<std::vector<double>> ms(choices.size());
    for (int duel = 0; duel < kDuels && !late(); ++duel) {
      FOVEA_TRY(check_going());
      progress("tune network", 1 - 0.2 * (1 - kShareOfTimers) * (1 - 1.0 * duel / kDuels));
      for (std::size_t turn = 0; turn < choices.size(); ++turn) {
        const std::size_t k = (turn + static_cast<std::size_t>(duel)) % choices.size();
        take(*context, rivals, choices[k]);
        const auto start = Clock::now();
        FOVEA_TRY(context->execute(bindings.batch()));
        ms[k].push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
      }
    }
    std::size_t winner = 0;
    for (std::size_t k = 1; k < choices.size(); ++k) {
      if (!agree(outputs[0], outputs[k], !network_.quantization.layers.empty())) {
        report_.rejected.push_back("the whole network: its outputs change with its tactics");
      } else if (beats(ms[k], ms[0]) &&
                 (winner == 0 || quantile(ms[k], 0.5) < quantile(ms[winner], 0.5))) {
        winner = k;
      }
    }
    choice = choices[winner];
    if (!ms[0].empty()) {
      report_.untuned_ms = quantile(ms[0], 0.5);
      report_.tuned_ms = quantile(ms[winner], 0.5);
    }
    return {};
  }

  static bool beats(const std::vector<double>& a, const std::vector<double>& b) {
    std::size_t wins = 0;
    for (std::size_t i = 0; i < a.size(); ++i) wins += a[i] < b[i] ? 1 : 0;
    return 3 * wins >= 2 * a.size() && !a.empty() && quantile(a, 0.5) < quantile(b, 0.5);
  }

  LayerTactics in_words(const Choice& choice) {
    LayerTactics tactics;
    for (std::size_t i = 0; i < sites_.size(); ++i) {
      tactics[sites_[i].layer] = sites_[i].tactics[choice[i]];
      report_.changed += choice[i] == 0 ? 0 : 1;
    }
    return tactics;
  }

  const NetworkDefinition& network_;
  const EngineInfo& info_;
  const TuningConfig& config_;
  const Progress& progress_;
  TuningReport& report_;
  const KernelFactory& make_;
  const kernels::CpuFeatures features_ = kernels::cpu_features();
  const std::string environment_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point saved_ = start_;
  std::string save_error_;   // of the last try
  std::vector<Site> sites_;  // that have a choice, in the program's order
  std::size_t steps_ = 0;
  TimingTable known_;                                       // what the file held
  TimingTable measured_;                                    // what it shall hold besides
  std::map<std::string, std::vector<TimedTactic>> ranked_;  // by signature
};

}  // namespace

Result<LayerTactics> tune(const NetworkDefinition& lowered, const EngineInfo& info,
                          const TuningConfig& config, const Progress& progress,
                          TuningReport& report, const KernelFactory& make) {
  return Tuner(lowered, info, config, progress, report, make).run();
}

}  // namespace fovea::engine::cpu::native
