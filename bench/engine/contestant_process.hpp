// The bench's end of a contestant's process (contestant.hpp has the other). A contestant is stopped
// but for its turns, so that threads that spin on after a run disturb nobody.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "bench/engine/contestant.hpp"
#include "nodes/base/result.hpp"

namespace fovea::bench {

class ContestantProcess {
 public:
  // Returns after the first inference, with the process stopped. Errors: kInternal if it ended
  // instead; its own message is on stderr by then.
  static Result<std::unique_ptr<ContestantProcess>> start(const std::filesystem::path& program,
                                                          const Task& task);
  ContestantProcess(const ContestantProcess&) = delete;
  ContestantProcess& operator=(const ContestantProcess&) = delete;
  ~ContestantProcess();  // kills it

  // Runs the network once to wake it up, then `runs` times. Milliseconds each.
  Result<std::vector<double>> turn(std::size_t runs);

  double first_ms() const { return first_ms_; }  // from main() to the end of the first inference
  double magnitude() const { return magnitude_; }
  double peak_rss_mb() const { return peak_rss_mb_; }  // after the last turn

 private:
  ContestantProcess(pid_t pid, int to, int from) : pid_(pid), to_(to), from_(from) {}

  Result<std::string> read_line();

  pid_t pid_;
  int to_;
  int from_;
  std::string unread_;
  double first_ms_ = 0;
  double magnitude_ = 0;
  double peak_rss_mb_ = 0;
};

// A process that does nothing but keep one CPU busy, when told to.
class BusyProcess {
 public:
  BusyProcess();  // stopped
  BusyProcess(const BusyProcess&) = delete;
  BusyProcess& operator=(const BusyProcess&) = delete;
  ~BusyProcess();

  void set_running(bool running) const;

 private:
  pid_t pid_;
};

}  // namespace fovea::bench
