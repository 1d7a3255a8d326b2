// fovea-bench-pubsub: what it takes to get a frame from one process to others, ours against
// iceoryx and against pixels inside ZeroMQ messages, in one run and in turns.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/pubsub/first_lap.hpp"
#include "bench/pubsub/report.hpp"
#include "bench/pubsub/role.hpp"
#include "bench/pubsub/roudi.hpp"
#include "bench/pubsub/soak.hpp"
#include "bench/pubsub/suites.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::bench {
namespace {

constexpr const char* kFirstLap = "first-lap";
constexpr double kQuickSeconds = 1;
constexpr double kMostSoakStep = 60;

// Sockets and shared memory of this run's own.
class Workplace {
 public:
  Workplace() {
    std::string path = (std::filesystem::temp_directory_path() / "fovea-bench.XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) give_up("mkdtemp " + path);
    path_ = path;
    setenv("XDG_RUNTIME_DIR", path_.c_str(), 1);
    setenv("FOVEA_DOMAIN", fmt::format("bench{}", getpid()).c_str(), 1);
  }
  ~Workplace() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Options {
  std::string role;  // of a child process
  Job job;
  std::string touch = "page";

  std::vector<std::string> suites;
  std::vector<std::string> transports;
  Plan plan;
  double seconds = 4;
  bool quick = false;
  bool json = false;
  std::string svg;
  double soak = 0;
};

std::vector<std::string> all_suites() {
  std::vector<std::string> names = suite_names();
  names.emplace_back(kFirstLap);
  return names;
}

std::vector<std::string> all_transports() {
  std::vector<std::string> names;
  for (const Transport& transport : transports()) names.emplace_back(transport.name);
  return names;
}

void declare(CLI::App& app, Options& options) {
  app.add_option("--suite", options.suites, "tables to measure; default all")
      ->check(CLI::IsMember(all_suites()))
      ->delimiter(',');
  app.add_option("--transports", options.transports, "what to compare; default all")
      ->check(CLI::IsMember(all_transports()))
      ->delimiter(',');
  app.add_option("--seconds", options.seconds, "per cell and round; default 4")
      ->check(CLI::PositiveNumber);
  app.add_option("--rounds", options.plan.rounds, "turns that every transport gets; default 2")
      ->check(CLI::PositiveNumber);
  app.add_option("--rate", options.plan.hz, "frames a second of the paced tables; default 60")
      ->check(CLI::PositiveNumber);
  app.add_flag("--quick", options.quick, "one round of a second: whether it works, not how fast");
  app.add_flag("--json", options.json, "JSON instead of tables");
  app.add_option("--svg", options.svg, "write a plot of latency over frame size to this file");
  app.add_option("--soak", options.soak,
                 "instead of tables: run 4 cameras and a slow subscriber for so many seconds")
      ->check(CLI::PositiveNumber);
  // Of child processes.
  const char* const hidden = "";
  app.add_option("--role", options.role)->group(hidden);
  app.add_option("--transport", options.job.transport)->group(hidden);
  app.add_option("--bytes", options.job.bytes)->group(hidden);
  app.add_option("--subscribers", options.job.subscribers)->group(hidden);
  app.add_option("--hz", options.job.hz)->group(hidden);
  app.add_option("--touch", options.touch)->group(hidden);
  app.add_option("--hold-ms", options.job.hold_ms)->group(hidden);
  app.add_option("--report-seconds", options.job.report_seconds)->group(hidden);
}

int run_role(Options& options) {
  options.job.seconds = options.seconds;
  options.job.touch = options.touch == "page" ? Touch::kPage : Touch::kEveryByte;
  const Transport* transport = find_transport(options.job.transport);
  if (transport == nullptr || !transport->present || options.job.bytes < sizeof(FrameHeader))
    give_up("no such job");
  return options.role == "source" ? run_source(options.job) : run_sink(options.job);
}

// What this build has of what was asked for; says what it leaves out.
std::vector<std::string> present(const std::vector<std::string>& asked) {
  std::vector<std::string> names;
  for (const Transport& transport : transports()) {
    if (std::find(asked.begin(), asked.end(), transport.name) == asked.end()) continue;
    if (transport.present) {
      names.emplace_back(transport.name);
    } else {
      print_error("{} is not in this build: run bench/pubsub/install_rivals.sh",
                 transport.name);
    }
  }
  return names;
}

int run_tables(Options& options, const Workplace& workplace) {
  Plan& plan = options.plan;
  plan.suites = options.suites.empty() ? all_suites() : options.suites;
  plan.transports = present(options.transports.empty() ? all_transports() : options.transports);
  plan.seconds = options.quick ? kQuickSeconds : options.seconds;
  if (options.quick) plan.rounds = 1;
  for (const FrameSize& size : kSizes) plan.sizes.push_back(size.bytes);

  std::optional<RouDi> roudi;
  const auto iceoryx = std::find(plan.transports.begin(), plan.transports.end(), "iceoryx");
  if (iceoryx != plan.transports.end()) {
    roudi.emplace(workplace.path());
    if (!roudi->error().empty()) {
      print_error("without iceoryx: {}", roudi->error());
      plan.transports.erase(iceoryx);
    }
  }
  const bool terminal = isatty(STDERR_FILENO) != 0;
  std::vector<Suite> suites = run_plan(plan, [&](const std::string& what) {
    if (terminal) print_text(STDERR_FILENO, "\r\033[K" + what);
  });
  if (terminal) print_text(STDERR_FILENO, "\r\033[K");
  std::vector<FirstLap> laps;
  if (std::find(plan.suites.begin(), plan.suites.end(), kFirstLap) != plan.suites.end()) {
    for (const std::size_t bytes : {kSizes[2].bytes, kSizes[3].bytes})
      laps.push_back(measure_first_lap(bytes, 4));
  }
  if (options.json) {
    print_json(suites, laps);
  } else {
    print_tables(suites, laps);
  }
  if (!options.svg.empty()) {
    const auto latency = std::find_if(suites.begin(), suites.end(),
                                      [](const Suite& suite) { return suite.name == "latency"; });
    if (latency == suites.end()) give_up("--svg needs the latency suite");
    if (!(std::ofstream(options.svg) << latency_plot(*latency)).flush())
      give_up("cannot write " + options.svg);
  }
  return sound(suites) ? 0 : 1;
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  using namespace fovea::bench;
  CLI::App app(
      "Measures how frames get from one process to others: latency, CPU, context switches and\n"
      "messages per second, against iceoryx and against pixels inside ZeroMQ messages.\n"
      "Exit code 1: a frame was torn, repeated or out of order, or a transport failed.",
      "fovea-bench-pubsub");
  Options options;
  declare(app, options);
  CLI11_PARSE(app, argc, argv);
  if (!options.role.empty()) return run_role(options);
  // Ctrl-C ends the run in order: processes, daemon and files go first.
  fovea::Executor::block_signals();
  const Workplace workplace;
  if (options.soak > 0) return run_soak(options.soak, std::min(options.soak, kMostSoakStep));
  return run_tables(options, workplace);
}
