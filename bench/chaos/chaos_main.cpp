// fovea-bench-chaos: kills and stops processes of a running graph at random and says what came of
// it. Exit code 0 only if nothing was torn, leaked, stuck, lost unseen or left behind.
#include <algorithm>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include "bench/chaos/chaos.hpp"
#include "nodes/base/terminal.hpp"

namespace fovea::bench {
namespace {

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

// "fovea-camera=/build/broken-camera"
std::optional<std::pair<std::string, std::filesystem::path>> parse_replacement(
    const std::string& text) {
  const std::size_t sign = text.find('=');
  if (sign == 0 || sign >= text.size() - 1) return std::nullopt;
  return std::pair(text.substr(0, sign), std::filesystem::absolute(text.substr(sign + 1)));
}

std::vector<double> all_active_ms(const ChaosReport& report) {
  std::vector<double> all;
  for (const auto& [name, node] : report.nodes)
    all.insert(all.end(), node.active_ms.begin(), node.active_ms.end());
  return all;
}

void print_table(const ChaosReport& report) {
  print_out("{:<12} {:>6} {:>6} {:>6} {:>6} {:>9}   {:>15}   {:>15}\n", "node", "kills", "early",
             "hangs", "stops", "restarts", "active p50/max", "frame p50/max");
  for (const auto& [name, node] : report.nodes) {
    print_out(
        "{:<12} {:>6} {:>6} {:>6} {:>6} {:>9}   {:>6.0f}/{:>5.0f} ms   {:>6.0f}/{:>5.0f} ms\n",
        name, node.kills, node.early, node.hangs, node.stops, node.restarts,
        quantile(node.active_ms, 0.5), quantile(node.active_ms, 1), quantile(node.working_ms, 0.5),
        quantile(node.working_ms, 1));
  }
  print_out("\n");
  for (const auto& [name, camera] : report.cameras) {
    std::string drops;
    for (const auto& [reason, count] : camera.drops) {
      if (count > 0) drops += fmt::format(", {} {}", reason, count);
    }
    print_out(
        "{}: captured {}, delivered {}{}; {} gaps by restarts: {} frames, {:.1f} s; received {}\n",
        name, camera.captured, camera.delivered, drops, camera.gaps, camera.gap_frames,
        camera.gap_seconds, camera.received);
  }
  const std::vector<double> active = all_active_ms(report);
  print_out(
      "\nfrom the signal to active  p50 {:.0f} ms, p99 {:.0f} ms, most {:.0f} ms of {} restarts",
      quantile(active, 0.5), quantile(active, 0.99), quantile(active, 1), active.size());
  print_out("\ntorn frames accepted       {} of {} compared\n", report.torn, report.verified);
  print_out("slots held by the dead     {} a second later, {} seen at all\n", report.leaked,
             report.dead_holds);
  for (const std::string& what : report.wrong) print_out("WRONG: {}\n", what);
  print_out("{} in {:.0f} s\n", report.passed() ? "passed" : "FAILED", report.seconds);
}

void print_json(const ChaosReport& report, std::uint64_t seed) {
  nlohmann::ordered_json json{{"passed", report.passed()},       {"seed", seed},
                              {"seconds", report.seconds},       {"torn", report.torn},
                              {"compared", report.verified},     {"leaked", report.leaked},
                              {"dead_holds", report.dead_holds}, {"wrong", report.wrong}};
  json["active_ms_p50"] = quantile(all_active_ms(report), 0.5);
  json["active_ms_p99"] = quantile(all_active_ms(report), 0.99);
  for (const auto& [name, node] : report.nodes) {
    json["nodes"][name] = {{"kills", node.kills},
                           {"early", node.early},
                           {"hangs", node.hangs},
                           {"stops", node.stops},
                           {"restarts", node.restarts},
                           {"active_ms_p50", quantile(node.active_ms, 0.5)},
                           {"active_ms_max", quantile(node.active_ms, 1)},
                           {"frame_ms_p50", quantile(node.working_ms, 0.5)},
                           {"frame_ms_max", quantile(node.working_ms, 1)}};
  }
  for (const auto& [name, camera] : report.cameras) {
    json["cameras"][name] = {{"captured", camera.captured},
                             {"delivered", camera.delivered},
                             {"received", camera.received},
                             {"drops", camera.drops},
                             {"gaps", camera.gaps},
                             {"gap_frames", camera.gap_frames},
                             {"gap_seconds", camera.gap_seconds}};
  }
  print_out("{}\n", json.dump(2));
}

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  using namespace fovea::bench;
  CLI::App app("Kills and stops processes of a running graph at random");
  ChaosOptions options;
  options.seed = std::random_device()();
  options.bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  options.share = FOVEA_SOURCE_DIR;
  bool json = false;
  std::vector<std::string> replacements;
  app.add_option("--kills", options.kills, "How many processes to kill")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Who is struck when; random if absent, and printed");
  app.add_option("--interval", options.interval_ms, "Mean time between two blows, ms")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app.add_option("--replace", replacements,
                 "NAME=PROGRAM, for example fovea-camera=/build/broken-camera: run a build with a "
                 "planted bug, to see whether it is found")
      ->check(CLI::Validator(
          [](std::string& text) { return parse_replacement(text) ? "" : "it is not NAME=PROGRAM"; },
          "NAME=PROGRAM"));
  app.add_flag("--any-signal", options.any_signal,
               "SIGTERM, SIGINT, SIGKILL and SIGSTOP in equal parts, with the launcher's own limit "
               "of retries");
  app.add_flag("--json", json, "Print JSON instead of a table");
  CLI11_PARSE(app, argc, argv);
  for (const std::string& text : replacements)
    options.replacements.insert(*parse_replacement(text));

  // Pools belong into memory, not on a disk.
  setenv("TMPDIR", "/dev/shm", 0);
  fovea::print_error("seed {}", options.seed);
  options.progress = !json;
  const ChaosReport report = run_chaos(options);
  json ? print_json(report, options.seed) : print_table(report);
  return report.passed() ? 0 : 1;
}
