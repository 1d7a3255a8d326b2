#include "launch/launch_main.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>

#include <fmt/core.h>
#include <unistd.h>

#include "launch/install_paths.hpp"
#include "launch/looking/live_view.hpp"
#include "launch/looking/report.hpp"
#include "launch/looking/snapshot.hpp"
#include "launch/looking/table.hpp"
#include "launch/supervision/control_requests.hpp"
#include "launch/supervision/control_socket.hpp"
#include "launch/supervision/launch_lock.hpp"
#include "launch/supervision/preflight.hpp"
#include "launch/supervision/supervisor.hpp"
#include "nodes/base/clock.hpp"
#include "nodes/base/file_io.hpp"
#include "nodes/base/terminal.hpp"
#include "nodes/base/text.hpp"
#include "nodes/runtime/domain.hpp"
#include "nodes/runtime/executor.hpp"

namespace fovea::launch {
namespace {

using namespace std::chrono_literals;

constexpr auto kTableInterval = 500ms;
constexpr int kTurnsPerPlainLine = 10;  // every 5 s
constexpr int kExitFailed = 1;
constexpr int kExitNotStarted = 2;

int refuse(const Error& error) {
  // One line a fault; every node may have one.
  for (std::string_view rest = error.message; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    print_error("fovea launch: {}", one_line(without_secrets(rest.substr(0, end))));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return kExitNotStarted;
}

// `[12:34:56.789] [launch] [info] text`, as the nodes write theirs.
std::string log_line(LogLevel level, std::string_view text) {
  constexpr std::array<std::string_view, 4> kNames{"debug", "info", "warning", "error"};
  const std::int64_t now = realtime_ns();
  const std::time_t seconds = now / 1'000'000'000;
  std::tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("[{:02}:{:02}:{:02}.{:03}] [launch] [{}] {}", local.tm_hour, local.tm_min,
                     local.tm_sec, now / 1'000'000 % 1000, kNames[static_cast<std::size_t>(level)],
                     text);
}

// One launch from the first process to the last: shows, times and ends it.
class Session {
 public:
  Session(const LaunchOptions& options, const LoadOptions& load_options, const Domain& domain,
          Graph graph)
      : options_(options),
        domain_(domain),
        // JSON on stdout leaves no room for anything else there.
        display_(options.json_file == "-" ? STDERR_FILENO : STDOUT_FILENO),
        supervisor_(executor_, domain, std::move(graph),
                    {[this](std::string_view line) { log(line); },
                     [this](LogLevel level, std::string_view text) { log(log_line(level, text)); },
                     [this] { executor_.stop(); },
                     [this](std::string_view node) {
                       // One that leaves still has its frames to take in.
                       if (!node.empty()) return take_snapshot(domain_, false).in_flight(node);
                       return take_snapshot(domain_, false, supervisor_.absent()).in_flight();
                     }}),
        requests_(executor_, domain, supervisor_, load_options) {
    if (isatty(display_) != 0 && !options.quiet) view_.emplace(display_);
    auto socket = ControlSocket::create(
        executor_, domain, [this](std::string_view request, ControlSocket::Reply reply) {
          requests_.handle(request, std::move(reply));
        });
    if (socket) {
      socket_ = std::move(*socket);
    } else {
      log(log_line(LogLevel::kWarning, "nobody can speak to it: " + socket.error().message));
    }
  }

  int run() {
    executor_.set_signal_handler([this](int signal) { stop(signal); });
    executor_.add_timer(kTableInterval, [this] { turn(); });
    supervisor_.start();
    if (!supervisor_.done()) executor_.run();

    const Snapshot snapshot = take_snapshot(domain_, true, supervisor_.absent());
    const std::vector<NodeReport> nodes = supervisor_.report();
    if (view_) view_->finish();
    if (!options_.quiet) {
      for (const std::string& line : final_summary(snapshot, nodes)) print_line(display_, line);
      for (std::size_t i = 0; all_active_ns_ != 0 && i < snapshot.loose_ends.size(); ++i) {
        print_line(display_, snapshot.loose_ends[i]);
      }
      if (const std::uint64_t dropped = dropped_lines(); dropped > 0)
        print_line(display_, fmt::format("{} log lines could not be written", dropped));
    }
    return finish(report_json(snapshot, nodes, dropped_lines()));
  }

 private:
  void turn() {
    const Snapshot snapshot = take_snapshot(domain_, false, supervisor_.absent());
    end_if_due(snapshot);
    if (options_.quiet) return;
    meter_.add(snapshot);
    if (view_) {
      view_->draw(live_table(snapshot, meter_, supervisor_.report()));
    } else if (++turns_ % kTurnsPerPlainLine == 0) {
      for (const std::string& line : plain_lines(snapshot, meter_))
        print_line(display_, line);
    }
  }

  // --duration, and the end of recordings: their cameras stay up, but nothing more will come.
  void end_if_due(Snapshot snapshot) {
    if (supervisor_.stopping()) return;
    if (all_active_ns_ == 0 && supervisor_.all_active()) {
      all_active_ns_ = monotonic_ns();
      for (const std::string& line : snapshot.loose_ends) log(log_line(LogLevel::kWarning, line));
    }
    if (all_active_ns_ == 0) return;
    const double active_s = static_cast<double>(monotonic_ns() - all_active_ns_) / 1e9;
    if (options_.duration_s > 0 && active_s >= options_.duration_s) return supervisor_.stop();
    if (!supervisor_.settled()) return;
    // A camera that was taken out on request, or that failed when it was changed on request, has not
    // come to its end.
    std::erase_if(snapshot.cameras, [this](const CameraView& camera) {
      const std::string& source = camera.stages.front();
      return supervisor_.removed().contains(source) || supervisor_.failed_on_request(source);
    });
    if (!snapshot.sources_ended()) return;
    source_failed_ = snapshot.any_source_failed();
    log(log_line(source_failed_ ? LogLevel::kError : LogLevel::kInfo,
                 source_failed_ ? "no source is left and some have failed; stopping"
                                : "all sources have ended; stopping"));
    supervisor_.stop();
  }

  void stop(int signal) {
    if (!supervisor_.stopping()) stop_signal_ = signal;
    log(log_line(LogLevel::kInfo,
                 supervisor_.stopping() ? "stopping at once" : "stopping; again to hurry"));
    supervisor_.stop();
  }

  // A line among the logs: above the table when both go to the terminal.
  void log(std::string_view text) {
    // Libraries print what they like: FFmpeg and GStreamer whole addresses.
    const std::string line = one_line(without_secrets(text));
    if (view_ && isatty(STDERR_FILENO) != 0) {
      view_->print(line);
    } else {
      print_error("{}", line);
    }
  }

  int finish(const std::string& json) {
    // Ctrl-C is how people end a launch that has no end of its own.
    int code = stop_signal_ == 0 || stop_signal_ == SIGINT ? 0 : 128 + stop_signal_;
    if (!supervisor_.error().empty() || source_failed_) code = kExitFailed;
    if (!supervisor_.error().empty())
      print_error("fovea launch: {}", one_line(without_secrets(supervisor_.error())));
    if (options_.json_file == "-") {
      print_out("{}", json);
    } else if (!options_.json_file.empty()) {
      if (auto written = write_file(options_.json_file, json); !written) {
        print_error("fovea launch: {}", written.error().message);
        code = kExitFailed;
      }
    }
    return code;
  }

  const LaunchOptions& options_;
  const Domain& domain_;
  int display_;
  Executor executor_;
  std::optional<LiveView> view_;
  RateMeter meter_;
  int turns_ = 0;
  std::int64_t all_active_ns_ = 0;  // since when; 0 = never yet
  bool source_failed_ = false;
  int stop_signal_ = 0;  // the one that ended the launch; 0 = none did
  Supervisor supervisor_;
  std::unique_ptr<ControlSocket> socket_;  // null if it could not be made
  ControlRequests requests_;
};

int show_arguments(const std::filesystem::path& file) {
  const auto arguments = load_arguments(file);
  if (!arguments) return refuse(arguments.error());
  for (const ArgumentDeclaration& argument : *arguments) {
    const std::string value =
        argument.has_default ? fmt::format("default {}", argument.default_value) : "required";
    print_out("{}:=  {} ({})\n", argument.name, argument.description, value);
  }
  return 0;
}

}  // namespace

int run_launch(const LaunchOptions& options) {
  const std::filesystem::path file = find_launch_file(options.file);
  if (options.show_arguments) return show_arguments(file);
  const LoadOptions load_options{options.arguments, executable_directory(), share_directory()};
  auto graph = load_graph(file, load_options);
  if (!graph) return refuse(graph.error());
  const auto domain = Domain::open(options.domain);
  if (!domain) return refuse(domain.error());
  if (options.print_only) {
    print_out("{}", print_graph(*graph, domain->name()));
    return 0;
  }

  if (!options.json_file.empty() && options.json_file != "-") {
    if (auto writable = check_writable(options.json_file); !writable)
      return refuse(writable.error().with_context("--json"));
  }
  if (auto enough = check_descriptors(*graph); !enough) return refuse(enough.error());
  Executor::block_signals();
  const auto unchecked = check_parameters(*graph, *domain);
  if (!unchecked) return refuse(unchecked.error());
  for (const std::string& line : *unchecked) {
    print_error("{}", log_line(LogLevel::kWarning, one_line(without_secrets(line))));
  }
  const auto lock = LaunchLock::acquire(*domain);
  if (!lock) return refuse(lock.error());
  if (auto own = check_owners(*graph, *domain); !own) return refuse(own.error());
  if (auto free = check_names_free(*graph, *domain); !free) return refuse(free.error());
  if (const auto leftovers = domain->sweep(); !leftovers.empty()) {
    print_error("{}",
               log_line(LogLevel::kInfo,
                        fmt::format("removed {} files that an earlier run left in domain `{}`",
                                    leftovers.size(), domain->name())));
  }
  if (auto room = check_shared_memory(*graph, *domain); !room) return refuse(room.error());
  const int code = Session(options, load_options, *domain, std::move(*graph)).run();
  domain->sweep();
  return code;
}

}  // namespace fovea::launch
