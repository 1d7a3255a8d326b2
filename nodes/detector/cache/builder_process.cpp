// The kernel's view of a child: a process group to kill, a pipe to read, a status to collect.
#include "nodes/detector/cache/builder_process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/base/file_io.hpp"
#include "nodes/base/text.hpp"

extern char** environ;

namespace fovea {

namespace {

constexpr int kNice = 10;
constexpr std::size_t kMaxLine = 1024;
constexpr std::size_t kMaxReport = 1 << 20;
constexpr std::size_t kMaxLate = 4 << 20;  // more than three pipes hold
constexpr int kPollMs = 50;
constexpr int kClosedPollMs = 5;  // nothing to wait for but its end
constexpr std::chrono::milliseconds kProgressInterval{100};

struct Pipe {
  std::array<int, 2> ends{-1, -1};
  ~Pipe() {
    for (const int end : ends) {
      if (end >= 0) ::close(end);
    }
  }
  void close_writer() { ::close(std::exchange(ends[1], -1)); }
};

tl::unexpected<Error> cannot_start(const std::string& program, int error) {
  const bool exhausted =
      error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN || error == ENOBUFS;
  return fail(exhausted ? ErrorCode::kExhausted : ErrorCode::kInternal,
              fmt::format("cannot start {}: {}", program, std::strerror(error)));
}

Result<pid_t> spawn(std::vector<std::string>& command, int output, int errors, int plan) {
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
  posix_spawn_file_actions_adddup2(&actions, plan, kPlanDescriptor);
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
  if (error != 0) return cannot_start(command[0], error);
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(child), kNice);  // at worst it runs at ours
  return child;
}

// Cuts what the child prints into lines and keeps the last one that is no progress report. However
// fast it prints, progress is told a few times a second, the newest each time.
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
  void tell_progress() {
    const auto now = std::chrono::steady_clock::now();
    if (now - told_ < kProgressInterval) return;
    if (tell_last_progress()) told_ = now;
  }
  bool tell_last_progress() {
    if (!percent_) return false;
    if (progress_) progress_(stage_, *percent_ / 100.0);
    percent_.reset();
    return true;
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
      percent_ = percent;
      stage_ = one_line(rest.substr(3));
    } else if (!line.empty()) {
      last_words_ = one_line(line);
    }
    line_.clear();
  }

  const engine::Progress& progress_;
  std::string line_;
  std::string last_words_;
  std::string stage_;
  std::optional<int> percent_;  // reported by the child and not told yet
  std::chrono::steady_clock::time_point told_;
};

// A started builder. What it started is of its process group and ends with it.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) wait();
  }

  bool has_ended() const {
    siginfo_t info{};
    // It stays a zombie, so that its process group's number is nobody else's yet.
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == pid_;
  }
  // Kills whatever is left of it. The cache survives that at any moment.
  int wait() {
    ::kill(-pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
};

// Until the child has ended and all that it wrote is read; false if `keep_going` said so first. A
// pipe that was closed early, or that a process of another group keeps open, decides nothing.
bool listen(const Child& child, std::array<pollfd, 3> pipes,
            const std::function<bool()>& keep_going, BuilderOutput& output, Listener& listener) {
  std::vector<char> buffer(std::size_t{64} << 10);
  std::size_t late = 0;  // bytes after its end
  for (;;) {
    if (!keep_going()) return false;
    const bool over = child.has_ended();
    const bool closed =
        std::all_of(pipes.begin(), pipes.end(), [](const pollfd& pipe) { return pipe.fd < 0; });
    const int ready = ::poll(pipes.data(), pipes.size(),
                             over     ? 0
                             : closed ? kClosedPollMs
                                      : kPollMs);
    listener.tell_progress();
    if (over && (ready <= 0 || late > kMaxLate)) return true;
    for (std::size_t i = 0; i < pipes.size() && ready > 0; ++i) {
      if (pipes[i].fd < 0 || pipes[i].revents == 0) continue;
      const ssize_t got = ::read(pipes[i].fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        pipes[i].fd = -1;
        continue;
      }
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
      if (over) late += bytes.size();
      if (i == 0 && output.report.size() < kMaxReport) output.report += bytes;
      if (i == 1) listener.add(bytes);
      if (i == 2 && output.plan.size() < kMaxFileBytes) {
        const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
        output.plan.insert(output.plan.end(), first, first + bytes.size());
      }
    }
  }
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

Result<BuilderOutput> run_builder(std::vector<std::string> command,
                                  const std::function<bool()>& keep_going,
                                  const engine::Progress& progress) {
  std::array<Pipe, 3> pipes;  // output, errors, plan
  for (Pipe& pipe : pipes) {
    if (::pipe2(pipe.ends.data(), O_CLOEXEC) != 0) return cannot_start(command[0], errno);
  }
  FOVEA_ASSIGN(const pid_t pid,
               spawn(command, pipes[0].ends[1], pipes[1].ends[1], pipes[2].ends[1]));
  Child child(pid);
  std::array<pollfd, 3> watched{};
  for (std::size_t i = 0; i < pipes.size(); ++i) {
    pipes[i].close_writer();
    watched[i] = {pipes[i].ends[0], POLLIN, 0};
  }
  BuilderOutput result;
  Listener listener(progress);
  if (!listen(child, watched, keep_going, result, listener)) {
    return fail(ErrorCode::kUnavailable, "the builder was stopped");
  }
  listener.tell_last_progress();
  const int status = child.wait();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return result;
  const std::string& words = listener.last_words();
  return fail(ErrorCode::kUnavailable, fmt::format("the builder {}{}{}", describe(status),
                                                   words.empty() ? "" : ": ", words));
}

}  // namespace fovea
