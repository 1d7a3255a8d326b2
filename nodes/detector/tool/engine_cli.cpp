// `fovea-engine`: build, inspect, measure, compare and verify engines, and keep their cache.
// `fovea engine ...` becomes this process.
#include "nodes/detector/tool/engine_cli.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <unistd.h>

#include "nodes/base/terminal.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/tool/engine_cli_layers.hpp"
#include "nodes/detector/tool/options.hpp"

namespace fovea::engine_cli {

std::atomic<bool> interrupted{false};

namespace {

// The first signal asks politely, the second one kills.
void on_signal(int number) {
  interrupted = true;
  std::signal(number, SIG_DFL);
}

// OpenMP reads its environment before main(); what nobody set is set now, for a second start. Only
// for the subcommands that keep threads busy: starting costs some 50 ms.
void bound_idle_spinning(char** argv) {
  const std::string_view subcommand = argv[0] != nullptr && argv[1] != nullptr ? argv[1] : "";
  if (subcommand != "bench" && subcommand != "verify" && subcommand != "profile" &&
      subcommand != "diff") {
    return;
  }
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("GOMP_SPINCOUNT", engine::kSpinCount, 1);
  ::execv("/proc/self/exe", argv);  // if that fails, idle threads spin a little longer
}

constexpr Subcommand kSubcommands[] = {
    {"build", "Build an engine from an ONNX file", add_build},
    {"inspect", "Show what is in an engine, or why a model would be rebuilt", add_inspect},
    {"list", "List the engines in the cache", add_list},
    {"prune", "Remove damaged and long unused engines from the cache", add_prune},
    {"bench", "Measure an engine's latency and throughput", add_bench},
    {"profile", "Measure every layer of an engine", add_profile},
    {"diff", "Compare two engine files layer by layer", add_diff},
    {"verify", "Check an engine's accuracy on labelled pictures or against the reference",
     add_verify},
};

int run(const Command& command) {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  if (const auto writable = check_outputs(); !writable) return report(writable.error());
  return exit_code_of_tool("fovea engine", command());
}

}  // namespace
}  // namespace fovea::engine_cli

int main(int argc, char** argv) {
  fovea::prepare_process();
  fovea::engine_cli::bound_idle_spinning(argv);
  return fovea::engine_cli::run_command_line("Build, inspect, measure and verify engines",
                                             fovea::engine_cli::kSubcommands, argc, argv,
                                             fovea::engine_cli::run);
}
