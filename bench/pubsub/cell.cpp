#include "bench/pubsub/cell.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/base/clock.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::bench {
namespace {

constexpr double kStartPatience = 20;
constexpr double kEndPatience = 15;
constexpr int kLookAroundMs = 200;

std::vector<std::string> arguments_of(const std::string& role, const Job& job) {
  return {"/proc/self/exe",
          "--role",
          role,
          "--transport",
          job.transport,
          "--bytes",
          std::to_string(job.bytes),
          "--subscribers",
          std::to_string(job.subscribers),
          "--hz",
          std::to_string(job.hz),
          "--seconds",
          std::to_string(job.seconds),
          "--touch",
          job.touch == Touch::kPage ? "page" : "every-byte",
          "--hold-ms",
          std::to_string(job.hold_ms),
          "--report-seconds",
          std::to_string(job.report_seconds)};
}

void add(RoleReport& sum, const RoleReport& part) {
  sum.frames += part.frames;
  sum.lost += part.lost;
  sum.torn += part.torn;
  sum.disordered += part.disordered;
  sum.not_loaned += part.not_loaned;
  sum.context_switches += part.context_switches;
  sum.cpu_seconds += part.cpu_seconds;
  sum.seconds += part.seconds;
}

}  // namespace

Child::Child(const std::string& role, const Job& job) {
  std::array<int, 2> in{}, out{};
  if (pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0) give_up("pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  std::vector<std::string> arguments = arguments_of(role, job);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  if (posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) give_up("spawn");
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  in_ = in[1];
  out_ = out[0];
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      in_(std::exchange(other.in_, -1)),
      out_(std::exchange(other.out_, -1)) {}

Child::~Child() {
  if (pid_ < 0) return;
  close(in_);
  close(out_);
  // It has reported, or is not wanted any more: a moment to leave in order.
  for (int i = 0; i < 250; ++i) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) return;
    usleep(20'000);
  }
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool Child::read(void* data, std::size_t size, double patience_s) {
  auto* bytes = static_cast<char*>(data);
  const std::int64_t deadline = monotonic_ns() + static_cast<std::int64_t>(patience_s * 1e9);
  while (size > 0) {
    const auto left_ms = (deadline - monotonic_ns()) / 1'000'000;
    if (left_ms <= 0 || Executor::stop_signalled()) return false;
    pollfd item{out_, POLLIN, 0};
    if (poll(&item, 1, static_cast<int>(std::min<std::int64_t>(left_ms, kLookAroundMs))) <= 0)
      continue;
    const ssize_t got = ::read(out_, bytes, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

void Child::go() {
  if (write(in_, "G", 1) != 1) give_up("a child process is gone");
}

bool assemble(const Job& job, Crew& crew) {
  crew.sources.emplace_back("source", job);
  for (int i = 0; i < job.subscribers; ++i) crew.sinks.emplace_back("sink", job);
  for (Child& sink : crew.sinks) {
    char ready = 0;
    if (!sink.read(&ready, 1, kStartPatience)) return false;
  }
  crew.sources.front().go();
  return true;
}

void run_round(Cell& cell) {
  if (!cell.error.empty()) return;
  Crew crew;
  if (!assemble(cell.job, crew)) {
    cell.error = "did not start";
    return;
  }
  const double patience = cell.job.seconds + kEndPatience;
  RoleReport report;
  if (!crew.sources.front().read(&report, sizeof report, patience)) {
    cell.error = "the publisher did not finish";
    return;
  }
  add(cell.source, report);
  for (Child& sink : crew.sinks) {
    if (!sink.read(&report, sizeof report, patience)) {
      cell.error = "a subscriber did not finish";
      return;
    }
    add(cell.sinks, report);
    for (auto* samples : {&cell.held_ns, &cell.done_ns}) {
      const std::size_t before = samples->size();
      samples->resize(before + report.samples);
      if (report.samples > 0 &&
          !sink.read(samples->data() + before, report.samples * sizeof(std::uint32_t), patience)) {
        cell.error = "a subscriber did not finish";
        return;
      }
    }
  }
  ++cell.rounds;
}

}  // namespace fovea::bench
