#include "nodes/detector/engine/thread_choice.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>

#include "nodes/detector/engine/builder.hpp"
#include "nodes/detector/engine/painted_picture.hpp"
#include "nodes/detector/engine/plan/sha256.hpp"
#include "nodes/detector/engine/plan/timing_cache.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kNextToLeast = 1.03;
constexpr std::size_t kRounds = 7;
// Large networks need no rounds to tell thread counts apart.
constexpr double kLongEnough = 1;  // seconds of a pair

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// An engine of one thread count with a picture to run.
struct Contender {
  std::int32_t threads;
  std::shared_ptr<const Engine> engine;
  std::unique_ptr<ExecutionContext> context;
  Bindings bindings;
  std::vector<double> ms;

  static Result<Contender> make(Plan plan, std::int32_t threads) {
    plan.threads = threads;
    FOVEA_ASSIGN(auto engine, load_engine(plan));
    FOVEA_ASSIGN(auto context, engine->create_execution_context());
    FOVEA_ASSIGN(Bindings bindings, engine->make_bindings(1));
    paint(bindings.input(), static_cast<std::size_t>(engine->info().input.dims[1]));
    FOVEA_TRY(context->execute(bindings.batch(1)));  // the first run is a slow one
    return Contender{threads, std::move(engine), std::move(context), std::move(bindings), {}};
  }
  Result<> run() {
    const auto start = Clock::now();
    FOVEA_TRY(context->execute(bindings.batch(1)));
    ms.push_back(1000 * seconds_since(start));
    return {};
  }
  double median() {
    const auto middle = ms.begin() + static_cast<std::ptrdiff_t>(ms.size() / 2);
    std::nth_element(ms.begin(), middle, ms.end());
    return *middle;
  }
};

Result<> check_going(const TuningConfig& config) {
  if (!config.keep_going || config.keep_going()) return {};
  return fail(ErrorCode::kUnavailable, "tuning was stopped while it measured thread counts");
}

// In pairs, the fastest so far against the next: two engines of a large network take enough memory.
Result<std::vector<TimedThreads>> measured(const Plan& plan, const TuningConfig& config) {
  std::vector<TimedThreads> times;
  std::optional<Contender> fastest;
  for (const std::int32_t threads : config.thread_counts) {
    FOVEA_TRY(check_going(config));
    FOVEA_ASSIGN(Contender next, Contender::make(plan, threads));
    const auto start = Clock::now();
    for (std::size_t round = 0; round < kRounds; ++round) {
      FOVEA_TRY(check_going(config));
      if (fastest) FOVEA_TRY(fastest->run());
      FOVEA_TRY(next.run());
      if (seconds_since(start) > std::min(kLongEnough, config.max_seconds)) break;
    }
    times.push_back({threads, next.median()});
    if (!fastest || next.median() < fastest->median()) fastest.emplace(std::move(next));
  }
  return times;
}

// As the timing cache keeps them: like the tactics of a layer.
std::vector<TimedTactic> in_words(const std::vector<TimedThreads>& times) {
  std::vector<TimedTactic> words;
  for (const TimedThreads& time : times) {
    words.push_back({std::to_string(time.threads), 1000 * time.ms});
  }
  std::sort(words.begin(), words.end(),
            [](const TimedTactic& a, const TimedTactic& b) { return a.us < b.us; });
  return words;
}

// Empty unless there is a time of each of `counts`.
std::vector<TimedThreads> from_words(const std::vector<TimedTactic>& words,
                                     const std::vector<std::int32_t>& counts) {
  std::vector<TimedThreads> times;
  for (const std::int32_t count : counts) {
    const auto found = std::find_if(words.begin(), words.end(), [&](const TimedTactic& word) {
      return word.tactic == std::to_string(count);
    });
    if (found == words.end()) return {};
    times.push_back({count, found->us / 1000});
  }
  return times;
}

}  // namespace

std::int32_t fewest_that_help(std::span<const TimedThreads> times) {
  const auto least = std::min_element(
      times.begin(), times.end(),
      [](const TimedThreads& a, const TimedThreads& b) { return a.ms < b.ms; });
  std::int32_t fewest = least == times.end() ? 0 : least->threads;
  for (const TimedThreads& time : times) {
    if (time.ms <= kNextToLeast * least->ms) fewest = std::min(fewest, time.threads);
  }
  return fewest;
}

Result<> choose_threads(Plan& plan, const TuningConfig& config, TuningReport& report) {
  if (config.thread_counts.size() < 2) return {};
  // What gives way to others, as a builder beside a detector does, cannot tell what threads would bring.
  if (::getpriority(PRIO_PROCESS, 0) > 0) return {};
  FOVEA_ASSIGN(const Provider* provider, find_provider(plan.provider));
  const std::string environment =
      timing_environment(provider->identity(), config.thread_counts.back());
  Sha256 hash;  // of all that may change the time
  hash.add(serialize(plan));
  const std::string key = "threads of " + hash.finish();
  const auto read = config.cache.empty() ? Result<TimingCache>() : read_timing_cache(config.cache);
  if (!read && read.error().code != ErrorCode::kNotFound) {
    report.warning = "timing cache ignored: " + read.error().message;
  }
  if (read) {
    if (const auto table = read->find(environment); table != read->end()) {
      if (const auto entry = table->second.layers.find(key); entry != table->second.layers.end()) {
        report.threads = from_words(entry->second, config.thread_counts);
      }
    }
  }
  if (report.threads.empty()) {
    FOVEA_ASSIGN(report.threads, measured(plan, config));
    if (!config.cache.empty()) {
      TimingTable table;
      table.layers[key] = in_words(report.threads);
      // The tuner, which writes the same file later, tells why if that fails.
      (void)merge_into_file({{environment, std::move(table)}}, config.cache);
    }
  }
  plan.threads = fewest_that_help(report.threads);
  return {};
}

}  // namespace fovea::engine
