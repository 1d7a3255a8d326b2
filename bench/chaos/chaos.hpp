// A real graph of four cameras, preprocess, detector, postprocess and two witnesses, started by
// `fovea launch`, whose processes are killed (SIGKILL, or any signal that people and service
// managers send), stopped and continued (SIGSTOP, SIGCONT), or stopped for good at random instants
// while frames flow. Judges from outside, by shared memory
// and by its own subscriptions, and keeps no secret from the report.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace fovea::bench {

struct ChaosOptions {
  int kills = 1000;
  std::uint64_t seed = 1;
  int interval_ms = 800;        // mean time from one blow to the next
  std::filesystem::path bin;    // where fovea and the nodes lie
  std::filesystem::path share;  // where config/models lies
  // By program, another one to run in its place: a build with a planted bug, to see it found.
  std::map<std::string, std::filesystem::path> replacements;
  // SIGTERM, SIGINT, SIGKILL and SIGSTOP without an end, each as often as the others, under the
  // launcher's own limit of retries; else mostly SIGKILL and no limit.
  bool any_signal = false;
  bool progress = true;  // on stderr
};

struct NodeFate {
  std::uint64_t kills = 0;     // signals that end it, from running or stopped
  std::uint64_t early = 0;     // of these, before it was active again
  std::uint64_t hangs = 0;     // SIGSTOP without an end: the supervisor has to see it
  std::uint64_t stops = 0;     // SIGSTOP, then SIGCONT
  std::uint64_t restarts = 0;  // by the supervisor, from its report
  // From the signal to active, and to the first frame that leaves it, ms; backoff included.
  std::vector<double> active_ms, working_ms;
};

struct CameraFate {
  std::uint64_t captured = 0, delivered = 0, received = 0;
  std::map<std::string, std::uint64_t> drops;
  std::uint64_t gaps = 0, gap_frames = 0;  // as the product reports them
  double gap_seconds = 0;
};

struct ChaosReport {
  std::map<std::string, NodeFate> nodes;
  std::map<std::string, CameraFate> cameras;
  std::uint64_t verified = 0;      // frames compared pixel by pixel
  std::uint64_t torn = 0;          // of these, wrong
  std::uint64_t dead_holds = 0;    // slots seen in the hands of the dead
  std::uint64_t leaked = 0;        // of these, not given back within a second
  std::vector<std::string> wrong;  // everything else that should not be
  double seconds = 0;

  bool passed() const { return torn == 0 && leaked == 0 && verified > 0 && wrong.empty(); }
};

// Runs to the end. Errors of the run itself are in `wrong`.
ChaosReport run_chaos(const ChaosOptions& options);

}  // namespace fovea::bench
