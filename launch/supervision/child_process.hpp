// One child of the supervisor: its process, what it prints, and the pipe that tells it that we
// live.
//
// Started with posix_spawn (a fork would carry our locks and mappings along) in a process group of
// its own, so that Ctrl-C in a terminal reaches the supervisor alone and helpers of the child end
// with it. Its stdin is /dev/null; stdout and stderr come to us; descriptor kControlFd reads
// end-of-file when this process dies, whatever killed it; kParametersFd holds its parameters.
//
// Thread safety: none; one thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "launch/language/graph.hpp"
#include "nodes/base/result.hpp"

namespace fovea::launch {

inline constexpr int kControlFd = 3;
inline constexpr int kParametersFd = 4;

struct ExitStatus {
  bool by_signal = false;
  int code = 0;  // exit code or signal number

  bool success() const { return !by_signal && code == 0; }
};
std::string to_string(
    const ExitStatus& status);  // "exited with code 2", "was killed by signal 9 (Killed)"

class ChildProcess {
 public:
  // `parameters_fd` becomes the child's kParametersFd; -1 = none. REQUIRES: it is 16 or more.
  // Errors: kNotFound when there is no such program, kExhausted without descriptors, kInternal
  // otherwise.
  static Result<std::unique_ptr<ChildProcess>> spawn(const std::vector<std::string>& command,
                                                     const std::vector<NameValue>& environment,
                                                     int parameters_fd = -1);
  // Kills and reaps what still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  int exit_fd() const { return pidfd_; }     // readable once the process has ended
  int output_fd() const { return output_; }  // readable when it printed; -1 after end-of-file

  void signal(int number);

  // Hands over the lines printed so far, at most 128 KiB of them. False at end-of-file.
  bool read_output(const std::function<void(std::string_view line)>& on_line);

  // The process's end, once: kills what is left of its group and reaps it. nullopt while it runs.
  std::optional<ExitStatus> reap();

 private:
  ChildProcess() = default;

  pid_t pid_ = -1;
  bool reaped_ = false;
  int pidfd_ = -1;
  int output_ = -1;
  int control_ = -1;
  std::string partial_line_;
};

}  // namespace fovea::launch
