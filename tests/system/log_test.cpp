// A launch whose log nobody takes: the disk is full, the reader is gone, or it stands still. The
// pipeline goes on as if nothing were, writes its report, and says how many lines were lost.
#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodes/base/file_handle.hpp"
#include "tests/support/build_paths.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/test_domain.hpp"

namespace fovea {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class Log : public testing::Test {
 protected:
  Log() {
    setenv("FOVEA_CACHE_DIR", (domain_.root() / "cache").c_str(), 1);
    setenv("FOVEA_SHARE", FOVEA_SOURCE_DIR, 1);
  }

  // Four nodes for a second, `log` their launcher's stderr; the report.
  json run(int log) {
    const std::string report = domain_.root() / "report.json";
    std::vector<std::string> words{FOVEA_BIN_DIR "/fovea",
                                   "launch",
                                   "one_camera",
                                   "--domain",
                                   "test",
                                   "--duration",
                                   "1",
                                   "--json",
                                   report,
                                   "video:=synthetic://?width=320&height=240&fps=20",
                                   "model:=" FOVEA_SOURCE_DIR
                                   "/config/models/yolov8p_demo_dynamic.onnx"};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, output().c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, log, 2);
    pid_t pid = 0;
    EXPECT_EQ(posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    if (!test::eventually([&] { return waitpid(pid, &status, WNOHANG) == pid; },
                          std::chrono::minutes(2))) {
      ADD_FAILURE() << "the launch does not end";
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    std::ifstream file(report);
    return json::parse(file, nullptr, false);
  }

  void expect_all_but_the_log(const json& report) const {
    ASSERT_TRUE(report.contains("cameras")) << report;
    const json& camera = report["cameras"]["cam0"];
    std::uint64_t accounted = camera["delivered"];
    EXPECT_GT(accounted, 0u) << camera;
    for (const auto& [reason, count] : camera["drops"].items())
      accounted += count.get<std::uint64_t>();
    EXPECT_EQ(camera["captured"], accounted) << camera;
    EXPECT_GT(report["dropped_log_lines"], 0);
    std::ostringstream text;
    text << std::ifstream(output()).rdbuf();
    EXPECT_THAT(text.str(), HasSubstr("log lines could not be written"));
  }

  std::filesystem::path output() const { return domain_.root() / "stdout"; }

  test::TestDomain domain_;
};

TEST_F(Log, AFullDiskEndsNothing) {
  const FileHandle full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full);
  expect_all_but_the_log(run(full.get()));
}

TEST_F(Log, AReaderThatIsGoneEndsNothing) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  close(ends[0]);
  const FileHandle log(ends[1]);
  expect_all_but_the_log(run(log.get()));
}

TEST_F(Log, AReaderThatStandsStillHoldsUpNothing) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const FileHandle reader(ends[0]);
  const FileHandle log(ends[1]);
  const std::string filling(4096, 'x');
  while (write(log.get(), filling.data(), filling.size()) > 0) continue;
  fcntl(log.get(), F_SETFL, 0);  // the launcher's writes would wait
  expect_all_but_the_log(run(log.get()));
}

}  // namespace
}  // namespace fovea
