// Against a real RTSP server: frames arrive, its death is noticed, its return too, and passwords
// stay secret. The server can be frozen (SIGSTOP), which is what a hung camera looks like from
// outside.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/camera/source_supervisor.hpp"
#include "tests/camera/camera_testing.hpp"

namespace fovea::frames {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr auto kWatchdog = 60s;  // far beyond anything that works; only a hang reaches it

class RtspServer {
 public:
  // nullptr if the server cannot run here: `why` tells.
  static std::unique_ptr<RtspServer> start(const std::string& port, std::string& why,
                                           std::vector<std::string> credentials = {}) {
    auto server = std::unique_ptr<RtspServer>(new RtspServer);
    int pipe_ends[2];
    if (::pipe(pipe_ends) != 0) return nullptr;
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
    std::vector<std::string> arguments{RTSP_TEST_SERVER, port};
    arguments.insert(arguments.end(), credentials.begin(), credentials.end());
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int spawned =
        ::posix_spawn(&server->pid_, RTSP_TEST_SERVER, &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(pipe_ends[1]);
    if (spawned != 0) {
      server->pid_ = 0;
      ::close(pipe_ends[0]);
      why = "cannot start " RTSP_TEST_SERVER;
      return nullptr;
    }
    std::FILE* output = ::fdopen(pipe_ends[0], "r");
    const int fields =
        std::fscanf(output, "%d", &server->port_);  // blocks until it listens or exits
    std::fclose(output);
    if (fields == 1) return server;
    why = "the server has no GStreamer plugins, or the port is taken";
    return nullptr;
  }
  ~RtspServer() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  void freeze() const { ::kill(pid_, SIGSTOP); }
  void thaw() const { ::kill(pid_, SIGCONT); }
  int port() const { return port_; }
  std::string uri(const std::string& credentials = "") const {
    return "rtsp://" + credentials + "127.0.0.1:" + std::to_string(port_) + "/camera";
  }

 private:
  RtspServer() = default;
  pid_t pid_ = 0;
  int port_ = 0;
};

class RtspSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(RTSP_TEST_SERVER)) {
      GTEST_SKIP() << "NOTICE: no RTSP server was built; install libgstrtspserver-1.0-dev and "
                      "gstreamer1.0-plugins-{base,good}, then configure again";
    }
    std::string why;
    server = RtspServer::start("0", why);
    if (!server) GTEST_SKIP() << "NOTICE: " << why << "; install gstreamer1.0-plugins-{base,good}";
  }

  // Grabs until `done` says so; fails after the watchdog's time.
  template <class Done>
  void run_until(SourceSupervisor& supervisor, Done done) {
    const Nanoseconds limit = machine_clock().monotonic() + kWatchdog;
    while (!done(supervisor.grab(200ms, {}))) {
      ASSERT_LT(machine_clock().monotonic(), limit) << "state " << to_string(supervisor.state());
    }
  }

  std::unique_ptr<RtspServer> server;
};

SupervisorOptions quick_policy() {
  return {.no_frame_timeout = 1s,
          .reconnect_after = 3s,
          .backoff_initial = 100ms,
          .backoff_max = 500ms};
}

bool is_frame(const Grab& grab) { return grab.status == GrabStatus::kFrame; }

TEST_F(RtspSourceTest, FramesArriveInTheCallersMemory) {
  const auto source = open_source(server->uri());
  ASSERT_TRUE(source);
  EXPECT_TRUE(source->info().is_live);
  EXPECT_EQ(source->info().width, 320u);
  EXPECT_EQ(source->info().height, 240u);
  std::optional<Canvas> first;
  bool moved = false;
  std::int64_t last_stamp = 0;
  for (int i = 0; i < 25; ++i) {
    const auto grab = source->grab(kWatchdog);
    ASSERT_TRUE(grab) << grab.error().message;
    ASSERT_EQ(grab->status, GrabStatus::kFrame);
    EXPECT_GT(grab->frame.stamp_monotonic, last_stamp);
    last_stamp = grab->frame.stamp_monotonic;
    Canvas canvas(grab->frame);
    ASSERT_TRUE(source->retrieve(canvas.view()));
    if (!first) first = canvas;
    moved = moved || !(canvas == *first);
  }
  EXPECT_TRUE(moved);
  EXPECT_EQ(source->counters().bytes_copied, 0u);
}

TEST_F(RtspSourceTest, AKilledServerIsNoticedAndItsReturnToo) {
  auto source = make_frame_source(server->uri(), {});
  ASSERT_TRUE(source);
  std::vector<SourceEvent> events;
  SourceSupervisor supervisor(**source, quick_policy(),
                              [&](const SourceEvent& event) { events.push_back(event); });
  run_until(supervisor, is_frame);
  EXPECT_EQ(supervisor.state(), SourceState::kConnected);

  const std::string port = std::to_string(server->port());
  server.reset();
  run_until(supervisor,
            [&](const Grab&) { return supervisor.state() == SourceState::kReconnecting; });
  // Attempts against nobody fail with the system's reason.
  run_until(supervisor, [&](const Grab&) { return supervisor.counters().opens >= 3; });
  EXPECT_THAT(events.back().reason, HasSubstr("Connection refused"));

  std::string why;
  server = RtspServer::start(port, why);
  ASSERT_TRUE(server) << why;
  run_until(supervisor, is_frame);
  EXPECT_EQ(supervisor.state(), SourceState::kConnected);
  EXPECT_EQ(supervisor.counters().reconnects, 1u);
}

TEST_F(RtspSourceTest, AFrozenServerStallsAndResumes) {
  auto source = make_frame_source(server->uri(), {});
  ASSERT_TRUE(source);
  auto policy = quick_policy();
  policy.reconnect_after = kWatchdog;  // only the stall is of interest here
  SourceSupervisor supervisor(**source, policy, nullptr);
  run_until(supervisor, is_frame);
  server->freeze();
  run_until(supervisor, [&](const Grab&) { return supervisor.state() == SourceState::kStalled; });
  server->thaw();
  run_until(supervisor, is_frame);
  EXPECT_EQ(supervisor.state(), SourceState::kConnected);
  EXPECT_EQ(supervisor.counters().opens, 1u);
}

TEST_F(RtspSourceTest, StopEndsAWaitForASilentServer) {
  const auto source = open_source(server->uri());
  ASSERT_TRUE(source);
  ASSERT_EQ(source->grab(kWatchdog)->status, GrabStatus::kFrame);
  server->freeze();
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  GrabStatus last = GrabStatus::kFrame;  // frames on their way may still come first
  while (last == GrabStatus::kFrame) {
    const auto grab = source->grab(Nanoseconds::max(), stop.get_token());
    ASSERT_TRUE(grab);
    last = grab->status;
  }
  EXPECT_EQ(last, GrabStatus::kStopped);
  server->thaw();
}

TEST_F(RtspSourceTest, PasswordsWorkAndStaySecret) {
  std::string why;
  server = RtspServer::start("0", why, {"robot", "hunter2"});
  ASSERT_TRUE(server) << why;
  const auto good = open_source(server->uri("robot:hunter2@"));
  ASSERT_TRUE(good);
  EXPECT_EQ(good->grab(kWatchdog)->status, GrabStatus::kFrame);
  EXPECT_THAT(good->name(), Not(HasSubstr("hunter2")));

  auto bad = make_frame_source(server->uri("robot:wrong-hunter2@"), {});
  ASSERT_TRUE(bad);
  const auto opened = (*bad)->open();
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("401 Unauthorized"));
  EXPECT_THAT(opened.error().message, Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace fovea::frames
