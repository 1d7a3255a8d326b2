// `fovea-engine`: build, inspect, measure, compare and verify engines, and keep their cache.
// `fovea engine ...` becomes this process.
#include "nodes/detector/tool/engine_cli.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/core.h>
#include <unistd.h>

#include "nodes/base/terminal.hpp"
#include "nodes/detector/engine/cpu/cpu_engine.hpp"
#include "nodes/detector/tool/engine_cli_layers.hpp"

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

int run(int argc, char** argv) {
  CLI::App app("Build, inspect, measure and verify engines", "fovea engine");
  app.require_subcommand(1);
  app.set_version_flag("--version", FOVEA_VERSION);
  const std::pair<CLI::App*, Command> commands[] = {
      [&](CLI::App* sub) {
        return std::pair(sub, add_build(*sub));
      }(app.add_subcommand("build", "Build an engine from an ONNX file")),
      [&](CLI::App* sub) { return std::pair(sub, add_inspect(*sub)); }(app.add_subcommand(
          "inspect", "Show what is in an engine, or why a model would be rebuilt")),
      [&](CLI::App* sub) {
        return std::pair(sub, add_list(*sub));
      }(app.add_subcommand("list", "List the engines in the cache")),
      [&](CLI::App* sub) {
        return std::pair(sub, add_prune(*sub));
      }(app.add_subcommand("prune", "Remove damaged and long unused engines from the cache")),
      [&](CLI::App* sub) {
        return std::pair(sub, add_bench(*sub));
      }(app.add_subcommand("bench", "Measure an engine's latency and throughput")),
      [&](CLI::App* sub) {
        return std::pair(sub, add_profile(*sub));
      }(app.add_subcommand("profile", "Measure every layer of an engine")),
      [&](CLI::App* sub) {
        return std::pair(sub, add_diff(*sub));
      }(app.add_subcommand("diff", "Compare two engine files layer by layer")),
      [&](CLI::App* sub) { return std::pair(sub, add_verify(*sub)); }(app.add_subcommand(
          "verify", "Check an engine's accuracy on labelled pictures or against the reference")),
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  for (const auto& [sub, command] : commands) {
    if (!sub->parsed()) continue;
    if (const auto writable = check_outputs(); !writable) return report(writable.error());
    return exit_code_of_tool("fovea engine", command());
  }
  return kExitUsage;
}

}  // namespace
}  // namespace fovea::engine_cli

int main(int argc, char** argv) {
  fovea::prepare_process();
  fovea::engine_cli::bound_idle_spinning(argv);
  return fovea::engine_cli::run(argc, argv);
}
