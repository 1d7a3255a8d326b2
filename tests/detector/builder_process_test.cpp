// Builders of every kind of ill manners: the caller gets its answer, and its thread back.
#include "nodes/detector/cache/builder_process.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/eventually.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const auto kGoOn = [] { return true; };

Result<BuilderOutput> run(const std::string& script,
                          const std::function<bool()>& keep_going = kGoOn,
                          const engine::Progress& progress = {}) {
  return run_builder({"/bin/sh", "-c", script}, keep_going, progress);
}

class BuilderProcess : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "fovea-builder-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

TEST_F(BuilderProcess, ReportComesBackWithTheLastProgress) {
  double done = 0;
  const auto report = run("for i in 10 20 100; do echo \" $i % tune\" >&2; done; echo '{}'", kGoOn,
                          [&](std::string_view stage, double part) {
                            EXPECT_EQ(stage, "tune");
                            done = part;
                          });
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->report, "{}\n");
  EXPECT_EQ(done, 1.0);
}

TEST_F(BuilderProcess, PlanLargerThanAPipeIsHandedOver) {
  const auto built = run("head -c 3000001 /dev/zero >&3; echo '{}'");
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_EQ(built->plan.size(), 3000001U);
  EXPECT_EQ(built->report, "{}\n");
}

TEST_F(BuilderProcess, ProgressWithoutEndAndDeafToSignalsIsStopped) {
  int told = 0;
  const auto stopped = run(
      "trap '' TERM INT HUP; while :; do echo ' 10 % tune' >&2; echo ' 20 % tune' >&2; done",
      [&] { return told < 2; }, [&](std::string_view, double) { ++told; });
  ASSERT_FALSE(stopped);
  EXPECT_THAT(stopped.error().message, HasSubstr("was stopped"));
  EXPECT_EQ(told, 2) << "it was called after it had been stopped";
}

TEST_F(BuilderProcess, ClosedPipesDoNotHideThatItStillRuns) {
  const fs::path closed = folder_ / "closed";
  const auto stopped =
      run("exec >/dev/null 2>&1; touch " + closed.string() + "; while :; do sleep 0.05; done",
          [&] { return !fs::exists(closed); });
  ASSERT_FALSE(stopped);
  EXPECT_THAT(stopped.error().message, HasSubstr("was stopped"));
}

TEST_F(BuilderProcess, ChildrenThatHoldItsPipesDoNotOutliveIt) {
  const fs::path pid_file = folder_ / "pid";
  const auto report = run("(while :; do echo noise; echo noise >&2; done) &\necho $! > " +
                          pid_file.string() + "; exit 0");
  ASSERT_TRUE(report) << report.error().message;
  pid_t child = 0;
  std::ifstream(pid_file) >> child;
  ASSERT_GT(child, 1);
  EXPECT_TRUE(test::eventually([&] {  // gone, or a zombie that its new parent collects
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string number, name, state;
    return !(stat >> number >> name >> state) || state == "Z";
  }));
}

TEST_F(BuilderProcess, ControlCharactersOfItsLastWordsStayOutOfTheLog) {
  const auto failed = run("printf '\\033[2Jno memory\\n' >&2; exit 3");
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("exited with code 3: \\x1b[2Jno memory"));
}

TEST_F(BuilderProcess, OutOfDescriptorsIsSaidAsSuch) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(next, 0);
  ::close(next);
  for (const int left : {0, 1, 3, 5}) {
    const rlimit few{static_cast<rlim_t>(next + left), before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const auto failed = run("exit 0");
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_FALSE(failed) << left;
    EXPECT_EQ(failed.error().code, ErrorCode::kExhausted);
    EXPECT_EQ(failed.error().message, "cannot start /bin/sh: Too many open files");
  }
}

}  // namespace
}  // namespace fovea
