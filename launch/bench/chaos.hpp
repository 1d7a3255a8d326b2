// Faults while the pipeline is measured: what each costs until frames come again.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launch/bench/ballast.hpp"
#include "launch/bench/pipeline_run.hpp"
#include "launch/bench/report.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bench {

enum class FaultKind {
  kKill,    // SIGKILL to the detector
  kStall,   // SIGSTOP to preprocess: it hangs until the supervisor ends it
  kUnplug,  // the first camera gives nothing for two seconds
  kCache,   // every cached engine is damaged, and the detector killed, so that it must load one
  kShm,     // shared memory is full for two seconds, and preprocess killed, so that it needs pools
};
// Errors: kInvalidArgument with the names that are valid.
Result<FaultKind> fault_from_name(std::string_view name);

// Call before anything runs. Errors: kInvalidArgument where kShm could hurt other programs.
Result<> check_harmless(const std::vector<FaultKind>& faults);

// Spreads the faults over the window, each with as much time to recover from as the others.
class Chaos final : public Disturbance {
 public:
  // `cache` is the detector's cache folder, which it may damage.
  Chaos(std::string domain, std::vector<FaultKind> faults, double duration_s, std::string cache);
  ~Chaos() override;

  void turn(double seconds_into_window) override;

  // What the faults did, read off the frames of the run. REQUIRES: a run at a fixed rate.
  std::vector<Fault> evaluate(const RunResult& run, double rate) const;

 private:
  struct Event {
    FaultKind kind;
    double planned_s;
    std::int64_t at_ns = 0;  // 0 = not yet
    std::string detail;
  };
  void strike(Event& event, double seconds_into_window);
  std::string fill_shm();

  std::string domain_;
  double duration_s_;
  std::string cache_;
  std::vector<Event> events_;
  int silenced_ = 0;  // pid of the camera that is stopped now
  double silenced_until_s_ = 0;
  Ballast ballast_;  // in shared memory now
  double full_until_s_ = 0;
};

// Frames of `camera` that were due in [begin, end) and never came, and when frames came again for
// good: ns, 0 when nothing was lost, -1 when the last one due is among the lost.
struct Outage {
  std::uint64_t lost = 0;
  std::int64_t recovered_ns = 0;
};
Outage outage(const RunResult& run, std::uint32_t camera, double rate, std::int64_t begin,
              std::int64_t end);

}  // namespace fovea::bench
