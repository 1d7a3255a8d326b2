// The kernel's view of a child: a process group to kill, a pipe to read, a status to collect.
#include "nodes/detector/builder_process.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace fovea {

namespace {

constexpr int kNice = 10;
constexpr std::size_t kMaxLine = 1024;
constexpr std::size_t kMaxOutput = 1 << 20;
constexpr int kPollMs = 50;

struct Pipe {
  std::array<int, 2> ends{-1, -1};
  ~Pipe() {
    for (const int end : ends) {
      if (end >= 0) ::close(end);
    }
  }
  void close_writer() { ::close(std::exchange(ends[1], -1)); }
};

Result<pid_t> spawn(std::vector<std::string>& command, int output, int errors) {
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  // A node blocks its stop signals and ignores SIGPIPE; a child would inherit both.
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t child = -1;
  const int error = ::posix_spawn(&child, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return fail(ErrorCode::kInternal,
                fmt::format("cannot start {}: {}", command[0], std::strerror(error)));
  }
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(child), kNice);  // at worst it runs at ours
  return child;
}

// Cuts what the child prints into lines and keeps the last one that is no progress report.
class Listener {
 public:
  explicit Listener(const engine::Progress& progress) : progress_(progress) {}

  void add(std::string_view bytes) {
    for (const char c : bytes) {
      if (c == '\n') {
        take_line();
      } else if (line_.size() < kMaxLine) {
        line_ += c;
      }
    }
  }
  const std::string& last_words() {
    if (!line_.empty()) take_line();
    return last_words_;
  }

 private:
  // " 50 % compile"
  void take_line() {
    const std::string_view line = line_;
    const std::size_t start = std::min(line.find_first_not_of(' '), line.size());
    int percent = 0;
    const auto [end, error] =
        std::from_chars(line.data() + start, line.data() + line.size(), percent);
    const std::string_view rest(end, static_cast<std::size_t>(line.data() + line.size() - end));
    if (error == std::errc() && percent >= 0 && percent <= 100 && rest.starts_with(" % ")) {
      if (progress_) progress_(rest.substr(3), percent / 100.0);
    } else if (!line.empty()) {
      last_words_ = line;
    }
    line_.clear();
  }

  const engine::Progress& progress_;
  std::string line_;
  std::string last_words_;
};

// Until the child has closed both its ends; false if `keep_going` said so first.
bool listen(int output, int errors, const std::function<bool()>& keep_going, std::string& text,
            Listener& listener) {
  std::array<pollfd, 2> watched{{{output, POLLIN, 0}, {errors, POLLIN, 0}}};
  std::array<char, 4096> buffer;
  while (watched[0].fd >= 0 || watched[1].fd >= 0) {
    if (!keep_going()) return false;
    if (::poll(watched.data(), watched.size(), kPollMs) <= 0) continue;
    for (pollfd& end : watched) {
      if (end.fd < 0 || end.revents == 0) continue;
      const ssize_t got = ::read(end.fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        end.fd = -1;
        continue;
      }
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
      if (&end == &watched[1]) {
        listener.add(bytes);
      } else if (text.size() < kMaxOutput) {
        text += bytes;
      }
    }
  }
  return true;
}

std::string describe(int status) {
  return WIFSIGNALED(status) ? fmt::format("was killed by signal {} ({})", WTERMSIG(status),
                                           strsignal(WTERMSIG(status)))
                             : fmt::format("exited with code {}", WEXITSTATUS(status));
}

}  // namespace

std::filesystem::path builder_executable() {
  if (const char* given = std::getenv("FOVEA_BUILDER"); given != nullptr && *given != '\0')
    return given;
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "fovea-engine";
}

Result<std::string> run_builder(std::vector<std::string> command,
                                const std::function<bool()>& keep_going,
                                const engine::Progress& progress) {
  Pipe output;
  Pipe errors;
  for (Pipe* pipe : {&output, &errors}) {
    if (::pipe2(pipe->ends.data(), O_CLOEXEC) != 0) return fail_errno(ErrorCode::kInternal, "pipe");
  }
  FOVEA_ASSIGN(const pid_t child, spawn(command, output.ends[1], errors.ends[1]));
  output.close_writer();
  errors.close_writer();
  std::string text;
  Listener listener(progress);
  const bool ended = listen(output.ends[0], errors.ends[0], keep_going, text, listener);
  // The cache survives a kill at any moment, so there is nothing to wait for.
  if (!ended) ::kill(-child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno(ErrorCode::kInternal, "waitpid");
  }
  if (!ended) return fail(ErrorCode::kUnavailable, "the builder was stopped");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  const std::string& words = listener.last_words();
  return fail(ErrorCode::kUnavailable, fmt::format("the builder {}{}{}", describe(status),
                                                   words.empty() ? "" : ": ", words));
}

}  // namespace fovea
