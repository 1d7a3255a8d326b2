#include "bench/engine/contestant_process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fovea::bench {
namespace {

void end(pid_t pid) {
  if (pid <= 0) return;
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

}  // namespace

Result<std::unique_ptr<ContestantProcess>> ContestantProcess::start(
    const std::filesystem::path& program, const Task& task) {
  std::array<int, 2> commands{};
  std::array<int, 2> answers{};
  if (::pipe2(commands.data(), O_CLOEXEC) != 0 || ::pipe2(answers.data(), O_CLOEXEC) != 0) {
    return fail_errno(ErrorCode::kExhausted, "pipe2");
  }
  const std::array<std::string, 3> numbers = {
      std::to_string(task.threads), std::to_string(task.height), std::to_string(task.width)};
  const std::array<const char*, 7> arguments = {program.c_str(),
                                                task.model.c_str(),
                                                numbers[0].c_str(),
                                                numbers[1].c_str(),
                                                numbers[2].c_str(),
                                                task.precision.c_str(),
                                                nullptr};
  const pid_t pid = ::fork();
  if (pid == 0) {  // only what is async-signal-safe: the parent has threads
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(commands[0], STDIN_FILENO);
    ::dup2(answers[1], STDOUT_FILENO);
    ::execv(program.c_str(), const_cast<char* const*>(arguments.data()));
    ::_exit(127);
  }
  ::close(commands[0]);
  ::close(answers[1]);
  std::unique_ptr<ContestantProcess> process(new ContestantProcess(pid, commands[1], answers[0]));
  if (pid < 0) return fail_errno(ErrorCode::kExhausted, "fork");
  FOVEA_ASSIGN(const std::string line, process->read_line());
  std::string word;
  if (std::istringstream fields(line);
      !(fields >> word >> process->first_ms_ >> process->magnitude_) || word != "ready") {
    return fail(ErrorCode::kInternal, fmt::format("{} says '{}'", program.string(), line));
  }
  ::kill(pid, SIGSTOP);
  return process;
}

ContestantProcess::~ContestantProcess() {
  end(pid_);
  ::close(to_);
  ::close(from_);
}

Result<std::vector<double>> ContestantProcess::turn(std::size_t runs) {
  ::kill(pid_, SIGCONT);
  const std::string command = fmt::format("run {}\n", runs + 1);
  if (::write(to_, command.data(), command.size()) != static_cast<ssize_t>(command.size())) {
    return fail_errno(ErrorCode::kInternal, "write to a contestant");
  }
  FOVEA_ASSIGN(const std::string line, read_line());
  ::kill(pid_, SIGSTOP);
  std::istringstream fields(line);
  std::string word;
  double ignored = 0;
  fields >> word >> peak_rss_mb_ >> ignored;
  std::vector<double> times;
  for (double time = 0; fields >> time;) times.push_back(time);
  if (word != "times" || times.size() != runs) {
    return fail(ErrorCode::kInternal, fmt::format("a contestant says '{}'", line));
  }
  return times;
}

Result<std::string> ContestantProcess::read_line() {
  for (;;) {
    if (const std::size_t end = unread_.find('\n'); end != std::string::npos) {
      std::string line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return line;
    }
    std::array<char, 4096> buffer{};
    const ssize_t got = ::read(from_, buffer.data(), buffer.size());
    if (got > 0) {
      unread_.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (got == 0 || errno != EINTR) {
      return fail(ErrorCode::kInternal, "a contestant's process ended");
    }
  }
}

BusyProcess::BusyProcess() : pid_(::fork()) {
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (volatile unsigned long turns = 0;;) turns = turns + 1;
  }
  set_running(false);
}

BusyProcess::~BusyProcess() { end(pid_); }

void BusyProcess::set_running(bool running) const {
  if (pid_ > 0) ::kill(pid_, running ? SIGCONT : SIGSTOP);
}

}  // namespace fovea::bench
