#include "launch/supervision/child_process.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace fovea::launch {
namespace {

constexpr std::size_t kMaxLine = 4096;
constexpr int kMostReads = 32;

struct Pipe {
  int read = -1;
  int write = -1;

  Result<> open() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(ErrorCode::kExhausted, "pipe");
    // Away from the numbers that the child's own descriptors take.
    read = fcntl(ends[0], F_DUPFD_CLOEXEC, 16);
    write = fcntl(ends[1], F_DUPFD_CLOEXEC, 16);
    close(ends[0]);
    close(ends[1]);
    if (read < 0 || write < 0) return fail_errno(ErrorCode::kExhausted, "pipe");
    return {};
  }
  ~Pipe() {
    if (read >= 0) close(read);
    if (write >= 0) close(write);
  }
};

// The launcher's environment with `changes` on top.
std::vector<std::string> make_environment(const std::vector<NameValue>& changes) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    bool replaced = false;
    for (const auto& [name, value] : changes) replaced |= text.starts_with(name + "=");
    if (!replaced) entries.emplace_back(text);
  }
  for (const auto& [name, value] : changes) entries.push_back(fmt::format("{}={}", name, value));
  return entries;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

// Attributes and descriptors of the child; every failure of these calls is memory exhaustion.
class SpawnPlan {
 public:
  SpawnPlan(int control, int output, int parameters) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, output, STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, control, kControlFd);
    if (parameters >= 0) posix_spawn_file_actions_adddup2(&actions_, parameters, kParametersFd);

    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

std::string to_string(const ExitStatus& status) {
  if (!status.by_signal) return fmt::format("exited with code {}", status.code);
  return fmt::format("was killed by signal {} ({})", status.code, strsignal(status.code));
}

Result<std::unique_ptr<ChildProcess>> ChildProcess::spawn(const std::vector<std::string>& command,
                                                          const std::vector<NameValue>& environment,
                                                          int parameters_fd) {
  Pipe control;
  Pipe output;
  FOVEA_TRY(control.open());
  FOVEA_TRY(output.open());
  fcntl(output.read, F_SETFL, O_NONBLOCK);

  std::vector<std::string> words = command;
  std::vector<std::string> entries = make_environment(environment);
  const SpawnPlan plan(control.read, output.write, parameters_fd);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, words[0].c_str(), plan.actions(), plan.attributes(),
                                pointers(words).data(), pointers(entries).data());
  if (error != 0) {
    return fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kInternal,
                fmt::format("cannot start {}: {}", words[0], std::strerror(error)));
  }
  std::unique_ptr<ChildProcess> child(new ChildProcess);
  child->pid_ = pid;
  std::swap(child->control_, control.write);
  std::swap(child->output_, output.read);
  child->pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (child->pidfd_ < 0) return fail_errno(ErrorCode::kExhausted, "pidfd_open");
  return child;
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0 && !reaped_) {
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  for (const int fd : {pidfd_, output_, control_}) {
    if (fd >= 0) close(fd);
  }
}

void ChildProcess::signal(int number) {
  if (!reaped_) kill(pid_, number);
}

bool ChildProcess::read_output(const std::function<void(std::string_view line)>& on_line) {
  std::array<char, 4096> buffer;
  // More than a pipe holds, yet bounded: who prints without end must not keep us here.
  for (int reads = 0; output_ >= 0; ++reads) {
    if (reads == kMostReads) return true;
    const ssize_t count = read(output_, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count <= 0) {
      if (!partial_line_.empty()) on_line(partial_line_);
      partial_line_.clear();
      close(output_);
      output_ = -1;
      break;
    }
    for (const char c : std::string_view(buffer.data(), static_cast<std::size_t>(count))) {
      if (c != '\n') partial_line_ += c;
      if (c == '\n' || partial_line_.size() >= kMaxLine) {
        on_line(partial_line_);
        partial_line_.clear();
      }
    }
  }
  return false;
}

std::optional<ExitStatus> ChildProcess::reap() {
  siginfo_t info{};
  if (reaped_ || waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
      info.si_pid != pid_) {
    return std::nullopt;
  }
  // While the zombie keeps the number, the group cannot be anyone else's.
  kill(-pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  reaped_ = true;
  return ExitStatus{info.si_code != CLD_EXITED, info.si_status};
}

}  // namespace fovea::launch
