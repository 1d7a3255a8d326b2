#include "nodes/base/terminal.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "nodes/base/text.hpp"

namespace fovea {
namespace {

constexpr int kPatienceMs = 100;

std::mutex line_mutex;
std::atomic<std::uint64_t> dropped{0};
bool stalled = false;              // guarded by line_mutex
std::atomic<int> stdout_error{0};  // the first errno of stdout

bool wait_writable(int fd, int timeout_ms) {
  pollfd entry{fd, POLLOUT, 0};
  int ready = 0;
  do {
    ready = ::poll(&entry, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  return ready > 0 && (entry.revents & (POLLERR | POLLNVAL)) == 0;
}

}  // namespace

void prepare_process() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free number is `fd` itself, since those below are open.
    const int null = ::open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY);
    if (null >= 0 && null != fd) {
      ::dup2(null, fd);
      ::close(null);
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on files' sizes is an error of write() like a full disk
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

std::vector<std::string> take_arguments(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  for (int i = 0; i < argc; ++i) {
    const std::string& word = words[static_cast<std::size_t>(i)];
    const std::string masked = without_secrets(word);
    if (masked == word) continue;
    // In the room that the word has; what it no longer fills becomes blanks.
    const std::size_t kept = std::min(masked.size(), word.size());
    std::fill_n(std::copy_n(masked.begin(), kept, argv[i]), word.size() - kept, ' ');
  }
  return words;
}

Result<> write_stdout(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      wait_writable(STDOUT_FILENO, -1);
    } else if (errno != EINTR) {
      int none = 0;
      stdout_error.compare_exchange_strong(none, errno);
      return fail_errno(errno == ENOSPC ? ErrorCode::kExhausted : ErrorCode::kInternal,
                        "write to stdout");
    }
  }
  return {};
}

bool stdout_takes() { return stdout_error.load() == 0; }

int exit_code_of_tool(std::string_view tool, int code) {
  const int error = stdout_error.load();
  if (error == 0) return code;
  if (error != EPIPE) print_error("{}: write to stdout: {}", tool, std::strerror(error));
  return code == 0 ? 1 : code;
}

void print_line(int fd, std::string_view line) { print_text(fd, std::string(line) + '\n'); }

void print_text(int fd, std::string_view text) {
  const std::lock_guard lock(line_mutex);
  std::string_view rest = text;
  while (!rest.empty()) {
    if (!wait_writable(fd, stalled ? 0 : kPatienceMs)) break;
    // A pipe that is ready has room for PIPE_BUF bytes; more could block.
    const ssize_t written = ::write(fd, rest.data(), std::min<std::size_t>(rest.size(), PIPE_BUF));
    if (written < 0 && errno != EINTR && errno != EAGAIN) break;
    if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
  }
  stalled = !rest.empty();
  if (stalled) dropped.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t dropped_lines() { return dropped.load(std::memory_order_relaxed); }

}  // namespace fovea
